/**
 * Runs recorded ipvsadm sessions (test/goldens/cli) with xvsadm against any director and compares
 * exit codes and bytes. Simple command lines run in this process, which is the tool's own code
 * from the words on; lines that need a shell run as processes.
 */
import { spawn } from 'node:child_process';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { ToolIo } from '#xvs/cli/io';
import type { NameSource, NameView } from '#xvs/cli/names';
import { runXvsadm } from '#xvs/cli/xvsadm';

const ROOT = resolve(__dirname, '..', '..', '..');
export const CLI_GOLDENS = join(ROOT, 'test', 'goldens', 'cli');

export interface Recorded {
  readonly kind: 'cmd' | 'view' | 'final';
  readonly cmd: string;
  readonly rc: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Outcome {
  readonly rc: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Difference {
  readonly name: string;
  readonly cmd: string;
  readonly expected: Outcome;
  readonly actual: Outcome;
}

export function goldenNames(): readonly string[] {
  return readdirSync(CLI_GOLDENS, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

export function readGolden(name: string): readonly Recorded[] {
  return readFileSync(join(CLI_GOLDENS, name, 'results.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Recorded);
}

/** The names the recording machine knew. */
const HOSTS: Readonly<Record<string, number>> = {
  localhost: 0x7f000001,
  'ip6-localhost': 0x7f000001,
};
const SERVICES: readonly (readonly [string, string, number])[] = [
  ['http', 'tcp', 80],
  ['https', 'tcp', 443],
  ['domain', 'tcp', 53],
  ['domain', 'udp', 53],
  ['http-alt', 'tcp', 8080],
];

export const RECORDED_SOURCE: NameSource = {
  hostAddress: (name) => HOSTS[name] ?? null,
  servicePort: (name, protocol) =>
    SERVICES.find((entry) => entry[0] === name && entry[1] === protocol)?.[2] ?? null,
};
export const RECORDED_VIEW: NameView = {
  host: (_family, address) => (address === '127.0.0.1' ? 'localhost' : null),
  service: (port, protocol) =>
    SERVICES.find((entry) => entry[2] === port && entry[1] === protocol)?.[0] ?? null,
};

/** Words of a line that uses nothing of the shell but single quotes; null if it uses more. */
export function simpleWords(line: string): readonly string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let quoted = false;
  for (const character of line) {
    if (character === "'") {
      quoted = !quoted;
      word ??= '';
    } else if (quoted) word = (word ?? '') + character;
    else if ('|<>;&$`"\\'.includes(character)) return null;
    else if (character === ' ') {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? '') + character;
  }
  if (word !== null) words.push(word);
  return words;
}

/** Runs the tool in this process, under the recorded name. */
export async function runInProcess(
  words: readonly string[],
  socketPath: string,
  stdin = '',
): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  const io: ToolIo = {
    program: 'ipvsadm',
    environment: { XVS_SOCKET: socketPath },
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
    stdin: () => stdin,
    names: { source: RECORDED_SOURCE, view: RECORDED_VIEW },
  };
  const rc = await runXvsadm(words, io);
  return { rc, stdout, stderr };
}

/** A folder with the tools under ipvsadm's names, to be put first in PATH. */
function makeToolFolder(folder: string): void {
  for (const tool of ['', '-save', '-restore']) {
    symlinkSync(join(ROOT, 'dist', 'bin', `xvsadm${tool}.js`), join(folder, `ipvsadm${tool}.js`));
    const script = `#!/bin/sh\nexec '${process.execPath}' '${folder}/ipvsadm${tool}.js' "$@"\n`;
    writeFileSync(join(folder, `ipvsadm${tool}`), script, { mode: 0o755 });
  }
}

/** Runs a recorded line by the shell; names of hosts and services are this machine's. */
function runByShell(line: string, folder: string, socketPath: string): Promise<Outcome> {
  const environment = { ...process.env, PATH: `${folder}:${process.env['PATH']}` };
  const text = line.replaceAll('/tmp/', `${folder}/`);
  return new Promise((resolveOutcome) => {
    const child = spawn('bash', ['-c', text], {
      env: { ...environment, XVS_SOCKET: socketPath },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    child.on('close', (code) => resolveOutcome({ rc: code ?? -1, stdout, stderr }));
  });
}

/** What differs between two machines for a reason: table size, order of unsorted listings. */
function comparable(outcome: Outcome, cmd: string): string {
  let { stdout } = outcome;
  stdout = stdout.replace(/\(size=\d+\)/, '(size=N)');
  if (cmd.includes('--nosort') || /-L\w*c/.test(cmd)) stdout = stdout.split('\n').sort().join('\n');
  return JSON.stringify([outcome.rc, stdout, outcome.stderr]);
}

const PROCESS_FILE = /^cat \/proc|^setpriv /;

export interface GoldenOptions {
  readonly socketPath: string;
  /** Which recordings; all by default. */
  readonly names?: readonly string[];
  /** Brings the director to an empty table and default timeouts; by commands if not given. */
  readonly reset?: () => Promise<void> | void;
}

export interface GoldenReport {
  readonly compared: number;
  readonly differences: readonly Difference[];
}

async function resetByCommands(socketPath: string): Promise<void> {
  for (const words of [['-C'], ['--set', '900', '120', '300']]) {
    const { rc, stderr } = await runInProcess(words, socketPath);
    if (rc !== 0) throw new Error(`cannot reset the director: ${words.join(' ')}: ${stderr}`);
  }
}

/** Executes each recorded command in order and compares. */
export async function runCliGoldens(options: GoldenOptions): Promise<GoldenReport> {
  const { socketPath, names = goldenNames(), reset } = options;
  const folder = mkdtempSync(join(tmpdir(), 'xvs-cli-golden-'));
  const differences: Difference[] = [];
  let compared = 0;
  try {
    makeToolFolder(folder);
    for (const name of names) {
      await (reset === undefined ? resetByCommands(socketPath) : reset());
      for (const recorded of readGolden(name)) {
        const { cmd } = recorded;
        if (PROCESS_FILE.test(cmd)) continue;
        const words = simpleWords(cmd);
        const actual =
          words !== null && words[0] === 'ipvsadm'
            ? await runInProcess(words.slice(1), socketPath)
            : await runByShell(cmd, folder, socketPath);
        compared += 1;
        if (comparable(actual, cmd) !== comparable(recorded, cmd)) {
          const { rc, stdout, stderr } = recorded;
          differences.push({ name, cmd, expected: { rc, stdout, stderr }, actual });
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { compared, differences };
}

/** For an assertion's message. */
export function describeDifferences(differences: readonly Difference[]): string {
  const part = ({ name, cmd, expected, actual }: Difference): string =>
    `${name}: ${cmd}\n  expected ${JSON.stringify(expected)}\n  actual   ${JSON.stringify(actual)}`;
  return differences.slice(0, 10).map(part).join('\n');
}
