/**
 * `xvs mark`: the firewall marks, in iptables' words. With AF_XDP a service's packets never meet
 * netfilter, so the director works their marks out itself, by these rules.
 */
import { spawnSync } from 'node:child_process';
import { formatChain, formatRule } from '../../control/mark/format';
import type { Imported } from '../../control/mark/import';
import { hasMangle, importIptables } from '../../control/mark/importIptables';
import { importNft } from '../../control/mark/importNft';
import { type MarkLine, parseMarkLine } from '../../control/mark/parse';
import { systemPorts } from '../../control/mark/portNames';
import type { MarkCommand, MarkList } from '../../control/protocol';
import {
  ask,
  EXIT_FAILED,
  FailedError,
  LineError,
  readOptions,
  type Verb,
  type VerbContext,
} from './verb';

const PATH = '/v1/marks';
const OUTPUT_BYTES_MAX = 1 << 26;

const HELP = `usage: xvs mark [-t mangle] -A|-I|-D PREROUTING [N] MATCHES -j MARK SETTER
       xvs mark [-4|-6] -L | -F
       xvs mark --import [--dry-run]

Which packets get which firewall mark, as iptables says it; a service for the mark 66 is made by
"xvsadm -A -f 66". Rules run in order, and none ends the walk.

  -A, -I [N], -D [N]       append, insert (before rule N, 1 unless said), delete (rule N, or the
                           rule that is the same)
  -L, -S                   list, as "iptables -S" would
  -F                       delete all rules
  -4, -6                   IPv4 or IPv6; else as the addresses are, and both with -L and -F
  --import                 append what "iptables-save -t mangle", "ip6tables-save -t mangle" and
                           "nft -j list ruleset" have and the director has not, and say what
                           cannot be taken over; --dry-run only says so

MATCHES, ! before those with (!):
  -s ADDRESS[/MASK] (!)    -d ADDRESS[/MASK] (!)    -i INTERFACE (!)    -p PROTOCOL (!)
  --sport FIRST[:LAST] (!)                 --dport FIRST[:LAST] (!)
  -m multiport --sports|--dports|--ports PORT[:LAST],... (!)
  -m mark --mark VALUE[/MASK] (!)          -m comment --comment TEXT
SETTER: one of
  --set-mark VALUE[/MASK]  --set-xmark VALUE[/MASK]
  --or-mark VALUE          --and-mark VALUE         --xor-mark VALUE
`;

/** null: a listing. */
function commandOf(line: MarkLine): MarkCommand | null {
  switch (line.operation) {
    case 'list':
      return null;
    case 'append':
    case 'delete':
    case 'insert':
      return { ...line, rules: line.rules.map(formatRule) };
    default:
      return line;
  }
}

function parse(words: readonly string[]): MarkLine {
  try {
    return parseMarkLine(words, systemPorts);
  } catch (error) {
    if ((error as Error).name === 'MarkError') throw new LineError((error as Error).message);
    throw error;
  }
}

async function listed(context: VerbContext): Promise<MarkList> {
  return (await ask(context.socketPath, 'GET', PATH)) as MarkList;
}

/** IPv6 rules come after those of IPv4, when there are any or they are asked for. */
function listing({ rules }: MarkList, family: 4 | 6 | null): string {
  return ([4, 6] as const)
    .map((one) => {
      const own = rules.filter((rule) => rule.family === one).map(({ rule }) => rule);
      const wanted = family === null ? one === 4 || own.length > 0 : family === one;
      return wanted ? formatChain(own, one) : '';
    })
    .join('');
}

/** What a program prints, or why there is nothing. */
function output(program: string, words: readonly string[]): { text: string; missing: string } {
  const { error, status, stdout, stderr } = spawnSync(program, words, {
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
  });
  if (error !== undefined) {
    const { code } = error as NodeJS.ErrnoException;
    return { text: '', missing: code === 'ENOENT' ? 'is not installed' : error.message };
  }
  if (status === 0) return { text: stdout, missing: '' };
  return { text: '', missing: `ended with ${status}: ${stderr.trim()}` };
}

/** Rules of the kernel, and what could not be asked. */
function readKernel(context: VerbContext): Imported {
  const parts: Imported[] = [];
  const read = new Set<4 | 6>();
  const missing: string[] = [];
  for (const [program, family] of [
    ['iptables-save', 4],
    ['ip6tables-save', 6],
  ] as const) {
    const saved = output(program, ['-t', 'mangle']);
    if (saved.missing !== '') missing.push(`${program} ${saved.missing}`);
    if (hasMangle(saved.text)) read.add(family);
    parts.push(importIptables(saved.text, family));
  }
  const ruleset = output('nft', ['-j', 'list', 'ruleset']);
  if (ruleset.missing !== '') missing.push(`nft ${ruleset.missing}`);
  else parts.push(importNft(ruleset.text, read));
  if (missing.length === 3) throw new FailedError(`nothing to import from: ${missing.join('; ')}`);
  for (const one of missing) context.io.stderr(`xvs: ${one}\n`);
  return {
    rules: parts.flatMap(({ rules }) => rules),
    left: parts.flatMap(({ left }) => left),
  };
}

async function importRules(words: readonly string[], context: VerbContext): Promise<number> {
  const { flags, rest } = readOptions(words, { import: 'flag', 'dry-run': 'flag' });
  if (rest.length > 0) throw new LineError(`${rest.join(' ')}: nothing is allowed with --import`);
  const { io, socketPath } = context;
  const found = readKernel(context);
  const known = (await listed(context)).rules;
  for (const family of [4, 6] as const) {
    const old = new Set(known.filter((one) => one.family === family).map(({ rule }) => rule));
    const rules = found.rules
      .filter((one) => one.family === family && !old.has(one.rule))
      .map(({ rule }) => rule);
    if (rules.length === 0) continue;
    if (!flags.has('dry-run')) {
      await ask(socketPath, 'POST', PATH, { operation: 'append', family, rules });
    }
    const head = family === 6 ? '-6 ' : '';
    for (const rule of rules) io.stdout(`${head}-A PREROUTING ${rule}\n`);
  }
  for (const { text, reason } of found.left) io.stderr(`xvs: not taken: ${text}\n  ${reason}\n`);
  return found.left.length === 0 ? 0 : EXIT_FAILED;
}

export const verb: Verb = {
  help: HELP,
  async run(words, context) {
    if (words.includes('--import')) return importRules(words, context);
    const line = parse(words);
    const command = commandOf(line);
    if (command !== null) await ask(context.socketPath, 'POST', PATH, command);
    else if (line.operation === 'list') {
      context.io.stdout(listing(await listed(context), line.family));
    }
    return 0;
  },
};
