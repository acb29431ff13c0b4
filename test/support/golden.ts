/**
 * Recordings of a real director (goldens/packets, sched, conntable) and how a simulation is
 * compared with them: commands go through the real grammar into the real director, listings come
 * out of the real printer.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseRequest } from '#xvs/cli/grammar';
import { type NameView, NUMERIC_NAMES } from '#xvs/cli/names';
import { arrangeServices, printServices, printTimeouts } from '#xvs/cli/print';
import { printConnections } from '#xvs/cli/printConnections';
import type { Request } from '#xvs/cli/request';
import { listServices } from '#xvs/control/listing';
import type { Command } from '#xvs/control/protocol';
import { TICKS_PER_SECOND } from '#xvs/table/setting';
import { type CapturedFrame, readPcap } from './pcap';
import type { Outcome, Simulation } from './simulation';

const GOLDENS = resolve(__dirname, '..', '..', '..', 'test', 'goldens');

export type Event =
  | { readonly op: 'topology'; readonly mode: string }
  | { readonly op: 'note'; readonly text: string }
  | { readonly op: 'cmd'; readonly cmd: string; readonly rc: number }
  | { readonly op: 'view'; readonly cmd: string; readonly stdout: string }
  | {
      readonly op: 'tcp';
      readonly client: string;
      readonly vip: string;
      readonly rs: string;
      readonly hold?: boolean;
    }
  | {
      readonly op: 'udp';
      readonly client: string;
      readonly vip: string;
      readonly len: number;
      readonly rs: string;
    }
  | { readonly op: 'close'; readonly how: string; readonly conns: readonly string[] }
  | { readonly op: 'sleep'; readonly s: number }
  | { readonly op: 'raw'; readonly ns: string; readonly ip_packet_hex: string }
  | { readonly op: 'exchange'; readonly client: string; readonly result: string };

export function readEvents(kind: 'conntable' | 'packets' | 'sched', name: string): Event[] {
  return readFileSync(join(GOLDENS, kind, name, 'events.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Event);
}

/** Frames of both interfaces in the order of their time. */
export function readCapture(name: string): (CapturedFrame & { readonly side: 0 | 1 })[] {
  return ([0, 1] as const)
    .flatMap((side) =>
      readPcap(join(GOLDENS, 'packets', name, `d-d${side}.pcap`)).map((frame) => ({
        ...frame,
        side,
      })),
    )
    .sort((left, right) => left.seconds - right.seconds);
}

const NO_NAMES = { hostAddress: () => null, servicePort: () => null };

function request(line: string): Request {
  const [program, ...words] = line.split(' ');
  assert.equal(program, 'ipvsadm', line);
  return parseRequest(words, 'ipvsadm', NO_NAMES);
}

const SYSCTL = /^sysctl -w net\.ipv4\.vs\.([a-z_]+)=(-?[0-9]+)$/;
const MARK = /^ip(6?)tables -t mangle -A PREROUTING (.*)$/;
/** All that the recorded host's /etc/services has of the ports in use. */
const RECORDED_NAMES: NameView = {
  host: () => null,
  service: (port, protocol) => (port === 80 && protocol === 'tcp' ? 'http' : null),
};
/** Listings of connections; without n those with the names of services. */
const CONNECTIONS = /^ipvsadm -L(n?)c/;

/** Executes a recorded command that succeeded: ipvsadm, sysctl, or iptables for a mark. */
export function execute(simulation: Simulation, line: string): void {
  const [, sysctl, value] = SYSCTL.exec(line) ?? [];
  if (sysctl !== undefined) {
    simulation.director.sysctls.set({ [sysctl]: Number(value) });
    return;
  }
  const [, six, rule] = MARK.exec(line) ?? [];
  if (rule !== undefined) {
    simulation.marks.execute({ operation: 'append', family: six === '' ? 4 : 6, rules: [rule] });
    return;
  }
  const parsed = request(line);
  assert.equal(parsed.kind, 'command', line);
  simulation.director.execute((parsed as { command: Command }).command);
}

export function show(simulation: Simulation, line: string): string {
  const parsed = request(line);
  if (parsed.kind === 'list-connections') {
    const withEngine = parsed.format.view === 'persistent-conn';
    const names = CONNECTIONS.exec(line)?.[1] === '' ? RECORDED_NAMES : NUMERIC_NAMES;
    return printConnections(simulation.connections(), withEngine, names);
  }
  if (parsed.kind === 'list-timeouts') return printTimeouts(simulation.director.timeouts);
  assert.equal(parsed.kind, 'list-services', line);
  const { format } = parsed as Extract<Request, { kind: 'list-services' }>;
  const list = arrangeServices(listServices(simulation.director), format.sorted);
  return printServices(list, true, format, NUMERIC_NAMES);
}

/** Without what two directors may differ in: table size; how many segments a server sends. */
function comparable(line: string, text: string): string {
  const sized = text.replace(/\(size=\d+\)/, '(size=N)');
  if (!line.includes('--stats')) return sized;
  return sized.replace(
    /^((?:TCP|UDP|FWM| {2}->) .{29} +\d+ +\d+) +\d+ ( *\d+) +\d+$/gm,
    (_row, conns, inBytes) => `${conns} # ${inBytes} #`,
  );
}

interface Row {
  readonly key: string;
  readonly seconds: number;
}

function rowsOf(text: string): Map<string, Row> {
  const [first, second, ...rows] = text.trimEnd().split('\n');
  assert.equal(first, 'IPVS connection entries');
  assert.match(
    second!,
    /^pro expire state {7}source {13}virtual {12}destination( {8}pe name {10}pe_data)?$/,
  );
  return new Map(
    rows.map((row) => {
      const [protocol, expire, ...rest] = row.split(/ +/);
      const [minutes, seconds] = expire!.split(':').map(Number);
      const key = [protocol, ...rest].join(' ');
      return [key, { key, seconds: minutes! * 60 + seconds! }];
    }),
  );
}

/** Seconds a recording may have taken between two events. */
const LAG_MAX_SECONDS = 3;

/**
 * Time goes on, tick by tick, until entries expire as soon as recorded: by `judge` all of those
 * that both know (the most that any has left over) or one of them (the least). Returns what
 * happened meanwhile, null when no time passed.
 */
function catchUp(
  simulation: Simulation,
  line: string,
  expected: ReadonlyMap<string, Row>,
  judge: (...seconds: number[]) => number,
): Outcome | null {
  const start = simulation.tick;
  const outcome: Outcome = { sent: [[], []], host: [] };
  for (;;) {
    const rows = [...rowsOf(show(simulation, line)).values()];
    const known = rows.filter(({ key }) => expected.has(key));
    const lag = judge(...known.map(({ key, seconds }) => seconds - expected.get(key)!.seconds));
    if (known.length === 0 || lag <= 0) return simulation.tick === start ? null : outcome;
    assert.ok(lag <= LAG_MAX_SECONDS, `${line}: entries live ${lag} s longer than recorded`);
    const passed = simulation.advance(lag > 1 ? TICKS_PER_SECOND : 1);
    for (const side of [0, 1] as const) outcome.sent[side].push(...passed.sent[side]);
    outcome.host.push(...passed.host);
  }
}

/**
 * The time passes that a recording took until a listing that is still to come: it is read off the
 * entries that both have. Where one's timer was set anew meanwhile, another one tells.
 */
export function waitFor(simulation: Simulation, line: string, recorded: string): void {
  const outcome = catchUp(simulation, line, rowsOf(recorded), Math.max);
  assert.deepEqual(outcome ?? { sent: [[], []], host: [] }, { sent: [[], []], host: [] });
}

/**
 * Compares connections as a set, states included, expiry within a second. The seconds that passed
 * while it was recorded pass here too: they are read off the rows, and must be few.
 */
function compareConnections(
  simulation: Simulation,
  line: string,
  recorded: string,
  isLater: (row: string) => boolean,
  slackSeconds: number,
): Outcome | null {
  const expected = rowsOf(recorded);
  for (const key of expected.keys()) if (isLater(key)) expected.delete(key);
  const before = rowsOf(show(simulation, line));
  assert.deepEqual([...before.keys()].sort(), [...expected.keys()].sort(), line);
  const outcome = catchUp(simulation, line, expected, Math.min);
  const after = rowsOf(show(simulation, line));
  for (const [key, row] of expected) {
    const seconds = after.get(key)?.seconds;
    assert.ok(
      seconds !== undefined && seconds >= row.seconds - 1 && seconds <= row.seconds + slackSeconds,
      `${line}: ${key} expires in ${seconds} s, recorded ${row.seconds} s`,
    );
  }
  return outcome;
}

/**
 * Compares a listing with the recorded one. `isLater`: rows of what is not compared.
 * `slackSeconds`: what an entry may live longer than recorded, where the time that passed between
 * two connections is not known. Returns what happened while time went on, null when it did not.
 */
export function compareView(
  simulation: Simulation,
  line: string,
  recorded: string,
  isLater: (row: string) => boolean = () => false,
  slackSeconds = 1,
): Outcome | null {
  if (CONNECTIONS.test(line)) {
    const outcome = compareConnections(simulation, line, recorded, isLater, slackSeconds);
    assert.deepEqual([outcome?.sent[0].length ?? 0, outcome?.sent[1].length ?? 0], [0, 0]);
    return outcome;
  }
  assert.equal(comparable(line, show(simulation, line)), comparable(line, recorded), line);
  return null;
}
