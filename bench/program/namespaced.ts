/** The bench `program` in the namespace that it was started in: its report as JSON on stdout. */

import { parseRules } from '#xvs/cli/rules';
import { Director } from '#xvs/control/director';
import { Redirect } from '#xvs/control/redirect';
import { commandSync } from '#xvs/lab/process';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { addon, XDP_VERDICTS, type XdpProgram } from '#xvs/port/addon';
import { attachTables, createMemory } from '#xvs/table/memory';
import { NEAR } from '../support/inNamespace';
import { Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import {
  ADDRESSES,
  type Family,
  type Kind,
  kindsOf,
  notIp,
  SERVER_PORT,
  VIRTUAL_PORT,
} from './frames';
import { OPTIONS } from './settings';

const FAMILIES: readonly Family[] = [4, 6];
const ENDPOINTS_KEPT = 64;
const RING_SIZE = 64;
const CHUNKS = 64;
const CHUNK_BYTES = 2048;

/** The program knows the buckets of endpoints, or only the hash maps. */
const WAYS = ['buckets', 'hash maps alone'] as const;
type Way = (typeof WAYS)[number];

/** Services of one virtual address on ports from 80 on, their two servers likewise. */
function addServices(director: Director, family: Family, count: number): void {
  const { virtual, server } = ADDRESSES[family];
  const at = (address: string, port: number) =>
    family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
  const lines: string[] = [];
  for (let number = 0; number < count; number++) {
    const service = at(virtual, VIRTUAL_PORT + number);
    lines.push(`-A -t ${service} -s rr`);
    for (const address of [server, server.replace(/.$/, '7')]) {
      lines.push(`-a -t ${service} -r ${at(address, SERVER_PORT + (number % 50_000))} -m`);
    }
  }
  const { commands, errors } = parseRules(lines.join('\n'));
  if (errors.length > 0) throw new Error(errors[0]!.message);
  for (const command of commands) director.execute(command);
}

/** What the control plane tells the program. */
function writeMaps(program: XdpProgram, services: number): void {
  const options = { workers: 1, connectionCapacity: 1024, hashSeed: 1 };
  const director = new Director(attachTables(createMemory(options), () => {}));
  const redirect = new Redirect(program);
  for (const family of FAMILIES) addServices(director, family, services);
  redirect.updateServices(director);
  redirect.updateLocalAddresses([parseIpv4(ADDRESSES[4].host)]);
  redirect.updateLocalAddresses6([[...addressWords(ADDRESSES[6].host)]]);
  const { index } = addon.interfaceInfo(NEAR);
  redirect.updateInterfaces([{ index, mac: '02:00:00:00:00:01' }]);
}

function openQueue() {
  const buffer = new SharedArrayBuffer(CHUNKS * CHUNK_BYTES + 4096);
  const offset = addon.pageOffset(buffer);
  const free = new Int32Array(CHUNKS + 1);
  const [rx, tx, clock] = [new Int32Array(128), new Int32Array(192), new Int32Array(4)];
  const counters = new Float64Array(addon.SOCKET_COUNTERS.length);
  const chunks = { chunkSize: CHUNK_BYTES, chunkCount: CHUNKS, txMetadata: false };
  const umem = addon.createUmem({ buffer, offset, ...chunks, free, clock });
  const rings = { ringSize: RING_SIZE, rx, tx, counters };
  const queue = { interface: NEAR, queue: 0, zeroCopy: 'auto', busyPollBudget: 0 } as const;
  return { umem, socket: addon.openSocket(umem, { ...queue, ...rings }) };
}

/** Throws unless the program says of the frame what the bench says that it measures. */
function check(program: XdpProgram, { name, verdict, frame }: Kind): void {
  const before = program.verdicts();
  program.testRun(NEAR, frame);
  const told = program.verdicts().findIndex((count, at) => count !== before[at]);
  if (XDP_VERDICTS[told] !== verdict) throw new Error(`${name}: ${XDP_VERDICTS[told]}`);
}

class ProgramBench {
  readonly #program: XdpProgram;
  readonly #kinds = [notIp(), ...FAMILIES.flatMap(kindsOf)];
  readonly #runs: number;
  readonly #told: number;
  readonly #values = new Map<string, number[]>();
  #isReversed = true;

  constructor(program: XdpProgram, runs: number) {
    this.#program = program;
    this.#runs = runs;
    const settings = program.mapLookup('settings', new Uint8Array(4))!;
    this.#told = new DataView(settings.buffer, settings.byteOffset).getUint32(0, true);
  }

  #become(way: Way): void {
    const word = way === 'buckets' ? this.#told : this.#told & ~ENDPOINTS_KEPT;
    const value = new Uint8Array(Uint32Array.of(word).buffer);
    this.#program.mapUpdate('settings', new Uint8Array(4), value);
  }

  measureRound(): void {
    this.#isReversed = !this.#isReversed;
    for (const way of this.#isReversed ? [...WAYS].reverse() : WAYS) {
      this.#become(way);
      for (const kind of this.#kinds) {
        check(this.#program, kind);
        const key = `${way} ${kind.name}`;
        const values = this.#values.get(key) ?? [];
        this.#values.set(key, values);
        values.push(this.#program.testTime(NEAR, kind.frame, this.#runs));
      }
    }
  }

  get results(): Result[] {
    return this.#kinds.flatMap(({ name }) =>
      WAYS.map((way) => summarize(name, { way }, 'ns', this.#values.get(`${way} ${name}`)!)),
    );
  }
}

function notesOf(results: readonly Result[]): string[] {
  const of = (kind: string, way: Way) =>
    results.find(({ name, parameters }) => name === kind && parameters['way'] === way)!.median;
  const nothing = of('not IP', 'buckets');
  return results.flatMap(({ name, parameters, median }) => {
    if (parameters['way'] !== 'buckets' || name === 'not IP') return [];
    const beside = of(name, 'hash maps alone') - nothing;
    return [`${name}: ${median - nothing} ns above a frame that is not IP, ${beside} by hash maps`];
  });
}

function measure(options: Options): Report {
  const cpu = options.number('cpu');
  commandSync(['taskset', '-a', '-p', '-c', `${cpu}`, `${process.pid}`]);
  const program = addon.loadProgram();
  const { umem, socket } = openQueue();
  const mode = program.attach(NEAR, 'auto');
  program.setSocket(NEAR, 0, socket.fd);
  writeMaps(program, options.number('services'));
  const bench = new ProgramBench(program, options.number('runs'));
  for (let round = 0; round < options.number('rounds'); round++) bench.measureRound();
  program.close();
  umem.close();
  const machine = describeMachine('veth', `${mode}, run by BPF_PROG_TEST_RUN`, { all: cpu });
  const { results } = bench;
  return { bench: 'program', machine, results, missing: [], notes: notesOf(results) };
}

const report = measure(new Options(OPTIONS, process.argv.slice(2)));
process.stdout.write(JSON.stringify(report));
