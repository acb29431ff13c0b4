/**
 * `xvs apply FILE`: a config file or a rules file, taken whole or not at all. The file is read and
 * checked here, by the code that xvsd reads its own with, so that a mistake is named with its line;
 * then all of it goes to the director in one request, checked again there and done by difference.
 */
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { packRequest } from '../../control/applyPack';
import { describeResult, requestOf } from '../../control/applyText';
import type { ApplyRequest, ApplyResult, Command, ServiceSpec } from '../../control/protocol';
import { parseRules } from '../rules';
import { ask, FailedError, LineError, readOptions, type Verb } from './verb';

const HELP = `usage: xvs apply [--dry-run] [--json] FILE

Makes the director's services, timeouts, sysctls and mark rules what FILE says, by difference: what
stays the same is not touched, and neither are its connections. All of FILE is taken, or nothing;
what is wrong with it is said as FILE:LINE. A rules file leaves sysctls and mark rules alone; a
sysctl that a config file does not name gets IPVS's default.

FILE is a config file of xvsd (YAML), or rules as xvsadm-save writes them; "-" is standard input.
A config file's other keys (interfaces, workers, ...) need a restart of xvsd when they change; which
ones do is said. Without --socket and XVS_SOCKET a config file's own \`socket\` is used.

  --dry-run  only say what would be done
  --json     the answer as JSON
`;

const CONFIG_EXTENSIONS = new Set(['.yaml', '.yml', '.json']);
/** A command of a rules file: -A, -a, --set ..., with or without the tool's name before it. */
const RULE = /^\s*(?:(?:ip|x)vsadm\s+)?(?:-[A-Za-z]|--[a-z])/;

interface Loaded {
  readonly request: Omit<ApplyRequest, 'dryRun'>;
  /** Of a config file. */
  readonly socket: string | null;
}

/** Rules or config? By the name, else by the first line that is no comment. */
export function isRules(file: string, text: string): boolean {
  if (CONFIG_EXTENSIONS.has(extname(file))) return false;
  const first = text.split('\n').find((line) => line.trim() !== '' && !/^\s*#/.test(line));
  return first === undefined ? extname(file) !== '' : RULE.test(first);
}

function loadRules(file: string, text: string): Loaded {
  const { foldRules } =
    require('../../control/rulesFile') as typeof import('../../control/rulesFile');
  const { services, timeouts, problems } = foldRules(text, file, parseRules);
  if (problems.length > 0) {
    throw new FailedFile(
      problems.map(({ line, message }) => `${file}:${line}: ${message}`).join('\n'),
    );
  }
  return { request: { services, marks: null, timeouts, sysctl: null, startup: {} }, socket: null };
}

/** Printed as it is: FILE:LINE on each line. */
class FailedFile extends Error {
  override readonly name = 'ConfigError';
}

function loadConfigText(file: string, text: string): Loaded {
  const { parseConfig } = require('../../control/config') as typeof import('../../control/config');
  const config = parseConfig(text, file, parseRules);
  return { request: requestOf(config), socket: config.socket };
}

/** Throws ConfigError with everything that is wrong with the file. */
function load(file: string, text: string): Loaded {
  const loaded = isRules(file, text) ? loadRules(file, text) : loadConfigText(file, text);
  const { checkSpecs } =
    require('../../control/configCheck') as typeof import('../../control/configCheck');
  checkSpecs(file, loaded.request.services);
  return loaded;
}

function readText(file: string, stdin: () => string): string {
  if (file === '-') return stdin();
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new FailedError(`${file}: cannot be read: ${(error as Error).message}`);
  }
}

function serviceName({ service }: Pick<ServiceSpec, 'service'>): string {
  const { fwmark, protocol, address, port, family } = service;
  if (fwmark !== 0) return `fwmark ${fwmark}${family === 6 ? ' (IPv6)' : ''}`;
  return `${protocol} ${family === 6 ? `[${address}]` : address}:${port}`;
}

function commandLine(command: Command): string {
  if (!('service' in command) || command.service === null) return command.command;
  const service = serviceName({ service: command.service });
  const [verb] = command.command.split('-');
  if ('address' in command) return `${verb} local address ${command.address} of ${service}`;
  if (!('server' in command)) {
    const scheduler = 'settings' in command ? ` (${command.settings.scheduler})` : '';
    return `${verb} service ${service}${scheduler}`;
  }
  const { family, address, port } = command.server;
  const server = `${family === 6 ? `[${address}]` : address}:${port}`;
  const settings =
    'settings' in command ? ` (${command.settings.method}, weight ${command.settings.weight})` : '';
  return `${verb} real server ${server} of ${service}${settings}`;
}

function report(result: ApplyResult, dryRun: boolean): string {
  const plan = result.plan.map((command) => `${commandLine(command)}\n`).join('');
  const restart = result.needsRestart.map(
    (key) => `${key}: differs from what xvsd runs with; a restart takes it over\n`,
  );
  const done = dryRun ? 'would be done' : 'applied';
  return `${plan}${done}: ${describeResult(result)}\n${restart.join('')}`;
}

export const verb: Verb = {
  help: HELP,
  async run(words, { io, socketGiven, socketPath }) {
    const { flags, rest } = readOptions(words, { 'dry-run': 'flag', json: 'flag' });
    const [file, ...others] = rest;
    if (file === undefined) throw new LineError('apply: FILE is missing; "xvs apply --help"');
    if (others.length > 0)
      throw new LineError(`apply: one FILE is allowed, given: ${rest.join(' ')}`);
    const dryRun = flags.has('dry-run');
    const { request, socket } = load(file, readText(file, io.stdin));
    const path = socketGiven ?? socket ?? socketPath;
    const packed = packRequest({ ...request, dryRun });
    const result = (await ask(path, 'POST', '/v1/apply', packed)) as ApplyResult;
    io.stdout(flags.has('json') ? `${JSON.stringify(result, null, 2)}\n` : report(result, dryRun));
    return 0;
  },
};
