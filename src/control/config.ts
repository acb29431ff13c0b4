/**
 * The config file: YAML, read into the shapes of protocol.ts with every default applied. Whatever
 * is wrong with it is reported at once, each problem with its key, line, value and what is allowed.
 */
import { readFileSync } from 'node:fs';
import { BlockList } from 'node:net';
import { dirname, resolve } from 'node:path';
import { ConfigError } from './configError';
import { configSchema, parseAddressAndPort, type RawConfig, serviceSchema } from './configSchema';
import { serviceOf } from './configService';
import { reportIssue, Source, shown } from './configSource';
import type { LogSettings } from './log/logger';
import { readMarks } from './mark/config';
import type { MarkRule } from './mark/rule';
import { type ServiceSpec, serviceId } from './model';
import { notePlace } from './place';
import type { Timeouts } from './protocol';
import { foldRules, type RulesParser } from './rulesFile';

export { ConfigError, type ConfigProblem } from './configError';
export type { RulesParser } from './rulesFile';

export interface InterfaceConfig {
  readonly name: string;
  readonly xdp: 'auto' | 'native' | 'generic';
  readonly zeroCopy: 'auto' | 'on' | 'off';
}

export interface Listen {
  readonly host: string;
  readonly port: number;
}

export interface Config {
  readonly socket: string;
  /** null: off. */
  readonly metrics: Listen | null;
  /** null: off. */
  readonly web: Listen | null;
  readonly log: LogSettings;
  readonly workers: {
    readonly count: number | 'auto';
    /** Empty: chosen at start. */
    readonly cpus: readonly number[];
    readonly mode: 'busy' | 'adaptive' | 'interrupt';
    readonly warmUp: boolean;
  };
  readonly interfaces: readonly InterfaceConfig[];
  readonly connections: { readonly capacity: number };
  readonly timeouts: Timeouts;
  /** Only what the file sets. */
  readonly sysctl: Readonly<Record<string, number>>;
  /** Of `rules`, then of `services`; servers in the order in which they are to be added. */
  readonly services: readonly ServiceSpec[];
  /** In order; IPv4 and IPv6 are chains of their own. */
  readonly marks: readonly MarkRule[];
}

interface FoldedServices {
  readonly services: ServiceSpec[];
  timeouts: Timeouts;
}

function readRules(
  source: Source,
  path: string,
  parseRules: RulesParser | null,
  folded: FoldedServices,
): void {
  const refuse = (message: string): void => source.refuse(['rules'], `value "${path}": ${message}`);
  if (parseRules === null) {
    refuse('this program cannot read rules files');
    return;
  }
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    refuse(`cannot be read: ${(error as Error).message}`);
    return;
  }
  const { services, timeouts, problems } = foldRules(text, path, parseRules);
  for (const { line, message } of problems) refuse(`line ${line}: ${message}`);
  for (const spec of services) folded.services.push(spec);
  const { tcp, tcpFin, udp } = folded.timeouts;
  folded.timeouts = {
    tcp: timeouts.tcp || tcp,
    tcpFin: timeouts.tcpFin || tcpFin,
    udp: timeouts.udp || udp,
  };
}

function checkUnique(source: Source, raw: RawConfig): void {
  const names = new Set<string>();
  for (const [index, { name }] of raw.interfaces.entries()) {
    if (names.has(name))
      source.refuse(['interfaces', index, 'name'], `"${name}" stands here twice`);
    names.add(name);
  }
  const { count, cpus } = raw.workers;
  if (new Set(cpus).size !== cpus.length) {
    source.refuse(['workers', 'cpus'], `value ${shown(cpus)}: each CPU is allowed once`);
  }
  if (typeof count === 'number' && cpus.length > 0 && cpus.length !== count) {
    const allowed = `as many as workers.count (${count}) are allowed, or none`;
    source.refuse(['workers', 'cpus'], `value ${shown(cpus)}: ${allowed}`);
  }
}

/** Checks every service that its own schema accepts, whatever is wrong with the rest. */
function addServices(source: Source, path: string, folded: FoldedServices): void {
  const entries = source.valueAt(['services']);
  if (!Array.isArray(entries)) return;
  const ids = new Set(folded.services.map(({ service }) => serviceId(service)));
  for (const [index, entry] of entries.entries()) {
    const raw = serviceSchema.safeParse(entry);
    const spec = raw.success ? serviceOf(source, ['services', index], raw.data) : null;
    if (spec === null) continue;
    const id = serviceId(spec.service);
    if (ids.has(id)) source.refuse(['services', index], `${id} exists already`);
    ids.add(id);
    folded.services.push(spec);
    notePlace(spec, { file: path, line: source.lineOf(['services', index]) });
    for (const [at, server] of spec.servers.entries()) {
      notePlace(server, {
        file: path,
        line: source.lineOf(['services', index, 'servers', at]),
      });
    }
  }
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

function checkWeb(source: Source, { web }: RawConfig): void {
  if (web === 'off' || web.anyAddress) return;
  const parsed = parseAddressAndPort(web.listen);
  if (parsed === null || LOOPBACK.check(parsed.address, `ipv${parsed.family}`)) return;
  source.refuse(
    ['web', 'listen'],
    `value "${web.listen}": a loopback address is allowed, another one with anyAddress: true; ` +
      'the page asks for no password',
  );
}

function listenOf(where: RawConfig['metrics'] | RawConfig['web']): Listen | null {
  if (where === 'off') return null;
  const parsed = parseAddressAndPort(where.listen);
  return parsed === null ? null : { host: parsed.address, port: parsed.port ?? 0 };
}

function definedOnly(record: Readonly<Record<string, number | undefined>>): Record<string, number> {
  const entries = Object.entries(record).filter((entry) => entry[1] !== undefined);
  return Object.fromEntries(entries) as Record<string, number>;
}

/**
 * `path`: for messages and as the place relative paths start from. `parseRules`: for `rules`.
 * Throws ConfigError with all problems.
 */
export function parseConfig(
  text: string,
  path: string,
  parseRules: RulesParser | null = null,
): Config {
  const source = new Source(text);
  if (source.problems.length > 0) throw new ConfigError(path, source.problems);
  const checked = configSchema.safeParse(source.value);
  for (const issue of checked.error?.issues ?? []) reportIssue(source, issue, []);
  const folded: FoldedServices = { services: [], timeouts: { tcp: 0, tcpFin: 0, udp: 0 } };
  const raw = checked.data;
  if (raw !== undefined) {
    checkUnique(source, raw);
    checkWeb(source, raw);
    const { tcp, tcpfin: tcpFin, udp } = raw.timeouts;
    folded.timeouts = { tcp, tcpFin, udp };
  }
  const rules = source.valueAt(['rules']);
  if (typeof rules === 'string' && rules !== '') {
    readRules(source, resolve(dirname(path), rules), parseRules, folded);
  }
  addServices(source, path, folded);
  const marks = readMarks(source);
  if (raw === undefined || source.problems.length > 0) {
    throw new ConfigError(path, source.problems);
  }
  return {
    socket: raw.socket,
    metrics: listenOf(raw.metrics),
    web: listenOf(raw.web),
    log: raw.log,
    workers: raw.workers,
    interfaces: raw.interfaces,
    connections: raw.connections,
    timeouts: folded.timeouts,
    sysctl: definedOnly(raw.sysctl),
    services: folded.services,
    marks,
  };
}

/** Reads and checks the file. Throws ConfigError, also when it cannot be read. */
export function loadConfig(path: string, parseRules: RulesParser | null = null): Config {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const message = `cannot be read: ${(error as Error).message}`;
    throw new ConfigError(path, [{ key: '', line: 0, message }]);
  }
  return parseConfig(text, path, parseRules);
}
