/**
 * A director without a wire: the tables, a Director and one pipeline per worker on memory ports,
 * in the topology of the recordings (goldens/packets/README.md), with a clock that only tests move.
 *
 *   client 10.0.1.100 --- d0 10.0.1.1 [director] d1 10.0.2.1 --- rs1 .. rs4 10.0.2.11 .. 14
 *          fd00:1::100       fd00:1::1              fd00:2::1               fd00:2::11 .. 14
 */
import assert from 'node:assert/strict';
import { Defense } from '#xvs/control/defense';
import { Director } from '#xvs/control/director';
import { listConnections } from '#xvs/control/listing';
import { Marks } from '#xvs/control/mark/marks';
import type {
  ConnectionListing,
  ServerSettings,
  ServiceKey,
  ServiceSettings,
} from '#xvs/control/protocol';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { finishChecksum, MemoryPort } from '#xvs/port/memoryPort';
import type { HostPort } from '#xvs/port/port';
import { Umem } from '#xvs/port/umem';
import type { Address6 } from '#xvs/table/address6';
import {
  COUNTER,
  DROP,
  DROP_REASONS,
  PASS,
  PASS_REASONS,
  WORKER_COUNTERS,
} from '#xvs/table/counter';
import { attachTables, createMemory, type DirectorMemory, type Tables } from '#xvs/table/memory';
import { ROUTE_LOCAL, ROUTE_UNICAST, type Route, type Route6 } from '#xvs/table/route';
import { TICKS_PER_SECOND } from '#xvs/table/setting';
import { DUE_MAX } from '#xvs/worker/expire';
import { Pipeline } from '#xvs/worker/pipeline';
import { CLIENT_MAC, DIRECTOR_MAC_0, DIRECTOR_MAC_1 } from './packet';

/** Side of the director: slot of its interface. */
export const CLIENT_SIDE = 0;
export const SERVER_SIDE = 1;
export type Side = typeof CLIENT_SIDE | typeof SERVER_SIDE;

export const VIP = '198.51.100.1';
export const SERVERS = [1, 2, 3, 4] as const;
export const serverAddress = (number: number): string => `10.0.2.1${number}`;
export const VIP6 = 'fd00:100::1';
export const serverAddress6 = (number: number): string => `fd00:2::1${number}`;
export const serverMac = (number: number): string => `02:00:00:00:02:1${number}`;
/** Not in any route. */
export const NOWHERE = '192.0.2.77';
/** Behind an interface that is not served. */
export const UNSERVED = '203.0.113.5';
export const UNSERVED6 = '2001:db8:5::5';
/** Not in any route. */
export const NOWHERE6 = '2001:db8:77::77';

const CHUNK_BYTES = 2048;
const DUE_ROUNDS_MAX = 10_000;

/** The host's own stack: finishes checksums as the kernel would, keeps what it was given. */
export class SimulatedHost implements HostPort {
  delivered: Uint8Array[] = [];
  refuses = false;
  readonly #umem: Umem;

  constructor(umem: Umem) {
    this.#umem = umem;
  }

  deliver(offset: number, lengthBytes: number, checksum: number): boolean {
    if (this.refuses) return false;
    finishChecksum(this.#umem.view, offset, lengthBytes, checksum);
    this.delivered.push(this.#umem.bytes.slice(offset, offset + lengthBytes));
    return true;
  }
}

/** What came of frames that came in. */
export interface Outcome {
  /** Frames that left, by side. */
  readonly sent: readonly [Uint8Array[], Uint8Array[]];
  /** Frames the host was given. */
  readonly host: Uint8Array[];
}

export class SimulatedWorker {
  readonly umem: Umem;
  readonly ports: readonly [MemoryPort, MemoryPort];
  readonly host: SimulatedHost;
  readonly pipeline: Pipeline;

  constructor(tables: Tables, index: number, chunks: number) {
    const bytes = Umem.bufferBytes(CHUNK_BYTES, chunks);
    this.umem = new Umem(new SharedArrayBuffer(bytes), 0, CHUNK_BYTES, chunks);
    this.ports = [new MemoryPort('d0', 0, this.umem), new MemoryPort('d1', 1, this.umem)];
    this.host = new SimulatedHost(this.umem);
    this.pipeline = new Pipeline(tables, index, this.umem, this.ports, this.host);
  }

  receive(side: Side, frames: readonly Uint8Array[], tick: number): void {
    const port = this.ports[side];
    for (const frame of frames) port.inject(frame);
    for (;;) {
      const count = port.receive();
      if (count === 0) break;
      this.pipeline.process(port, count);
      this.tidyUp(tick);
    }
  }

  /** What a worker does beside its bursts. */
  tidyUp(tick: number): void {
    this.pipeline.egress.retry(tick);
    this.pipeline.fragments.run(tick);
    for (let round = 0; this.pipeline.expire(tick, DUE_MAX) > 0; round++) {
      assert.ok(round < DUE_ROUNDS_MAX, 'the timer wheel does not come to an end');
    }
    for (const port of this.ports) port.transmit();
  }

  take(): Outcome {
    const host = this.host.delivered;
    this.host.delivered = [];
    return { sent: [this.ports[0].drain(), this.ports[1].drain()], host };
  }

  /** Every chunk is free again, or waits for a neighbour or a first fragment. */
  assertNoLeak(): void {
    const { umem, pipeline } = this;
    const held = pipeline.egress.waiting + pipeline.fragments.held;
    assert.equal(umem.freeCount + held, umem.chunkCount, 'a chunk was lost, or freed twice');
    const free = umem.free.subarray(1, umem.freeCount + 1);
    assert.equal(new Set(free).size, umem.freeCount, 'a chunk is free twice');
  }
}

export interface SimulationOptions {
  readonly workers?: number;
  readonly connectionCapacity?: number;
  readonly chunks?: number;
  readonly startTick?: number;
  /** Are the neighbours known from the start? */
  readonly neighbours?: boolean;
}

function macWords(text: string): { high: number; low: number } {
  const bytes = Buffer.from(text.replaceAll(':', ''), 'hex');
  return { high: bytes.readInt32BE(0), low: bytes.readUInt16BE(4) };
}

function route(prefix: string, fields: Partial<Route>): Route {
  const [address, length] = prefix.split('/');
  return {
    destination: parseIpv4(address!),
    prefixLength: Number(length),
    kind: ROUTE_UNICAST,
    interfaceSlot: -1,
    gateway: 0,
    preferredSource: 0,
    mtu: 0,
    ...fields,
  };
}

/** Four words of an IPv6 address. */
export function words6(text: string): Address6 {
  const [word0, word1, word2, word3] = addressWords(text);
  return [word0!, word1!, word2!, word3!];
}

function route6(prefix: string, fields: Partial<Route6>): Route6 {
  const [address, length] = prefix.split('/');
  return {
    destination: words6(address!),
    prefixLength: Number(length),
    kind: ROUTE_UNICAST,
    interfaceSlot: -1,
    gateway: [0, 0, 0, 0],
    preferredSource: [0, 0, 0, 0],
    mtu: 0,
    ...fields,
  };
}

export class Simulation {
  readonly memory: DirectorMemory;
  readonly tables: Tables;
  readonly director: Director;
  readonly defense: Defense;
  readonly marks: Marks;
  /** What drop_entry draws its lots with; tests may put their own here. */
  random: () => number = Math.random;
  readonly workers: readonly SimulatedWorker[];
  tick: number;
  readonly #ownLater: string[] = [];
  /** Wall clock of the director in milliseconds; moves with `tick`. */
  nowMs = 1_000_000;

  constructor(options: SimulationOptions = {}) {
    const { workers = 1, connectionCapacity = 1024, chunks = 512, startTick = 5000 } = options;
    this.memory = createMemory({ workers, connectionCapacity, hashSeed: 0x1234567 });
    this.tables = attachTables(this.memory, () => {});
    this.tick = startTick;
    this.director = new Director(
      this.tables,
      () => {},
      () => this.nowMs,
    );
    this.defense = new Defense(this.director, () => this.random());
    this.marks = new Marks(['d0', 'd1'], (rules) => this.tables.marks.publish(rules));
    for (const wheel of this.tables.wheels) wheel.start(startTick);
    this.workers = Array.from(
      { length: workers },
      (_, index) => new SimulatedWorker(this.tables, index, chunks),
    );
    this.#setClock();
    this.#setLinks();
    if (options.neighbours ?? true) this.resolveAll();
  }

  #setLinks(): void {
    const { nextHops } = this.tables;
    const own = [
      { mac: DIRECTOR_MAC_0, address: '10.0.1.1', address6: 'fd00:1::1' },
      { mac: DIRECTOR_MAC_1, address: '10.0.2.1', address6: 'fd00:2::1' },
    ];
    own.forEach(({ mac, address, address6 }, slot) => {
      const { high, low } = macWords(mac);
      nextHops.links.set(slot, {
        interfaceIndex: slot + 2,
        macHigh: high,
        macLow: low,
        mtu: 1500,
        up: true,
        address: parseIpv4(address),
        address6: words6(address6),
      });
    });
    this.#setRoutes();
  }

  #setRoutes(): void {
    const { nextHops } = this.tables;
    const own = (family: 4 | 6): string[] =>
      this.#ownLater
        .filter((address) => address.includes(':') === (family === 6))
        .map((address) => `${address}/${family === 4 ? 32 : 128}`);
    const main = [
      route('10.0.1.0/24', { interfaceSlot: 0 }),
      route('10.0.2.0/24', { interfaceSlot: 1 }),
      route('172.16.0.0/12', { interfaceSlot: 0, gateway: parseIpv4('10.0.1.100') }),
      route(`${UNSERVED}/32`, { interfaceSlot: -1 }),
    ];
    const local = ['198.51.100.0/24', '10.0.1.1/32', '10.0.2.1/32', ...own(4)].map((prefix) =>
      route(prefix, { kind: ROUTE_LOCAL }),
    );
    assert.ok(nextHops.replaceRoutes([main, local]));
    const main6 = [
      route6('fd00:1::/64', { interfaceSlot: 0 }),
      route6('fd00:2::/64', { interfaceSlot: 1 }),
      route6('fd00:c::/32', { interfaceSlot: 0, gateway: words6('fd00:1::100') }),
      route6(`${UNSERVED6}/128`, { interfaceSlot: -1 }),
    ];
    const local6 = ['fd00:100::/64', 'fd00:1::1/128', 'fd00:2::1/128', ...own(6)].map((prefix) =>
      route6(prefix, { kind: ROUTE_LOCAL }),
    );
    assert.ok(nextHops.replaceRoutes6([main6, local6]));
  }

  /** An address becomes the director's own. */
  becomeOwn(address: string): void {
    this.#ownLater.push(address);
    this.#setRoutes();
  }

  /** Neighbours as the recorded hosts have them. */
  resolveAll(): void {
    const clients = ['10.0.1.100', '10.0.1.200', 'fd00:1::100', 'fd00:1::200'];
    for (const address of clients) this.resolve(0, address, CLIENT_MAC);
    for (const number of SERVERS) {
      this.resolve(1, serverAddress(number), serverMac(number));
      this.resolve(1, serverAddress6(number), serverMac(number));
    }
  }

  resolve(side: Side, address: string, mac: string): void {
    const { high, low } = macWords(mac);
    const host = address.includes(':') ? words6(address) : parseIpv4(address);
    const slot = this.tables.nextHops.putResolved(side, host, high, low, this.tick);
    assert.notEqual(slot, 0);
  }

  #setClock(): void {
    for (const { umem } of this.workers) {
      umem.clock[0] = this.tick;
      umem.clock[1] = Math.imul(this.tick, 100_000);
    }
  }

  /** Time goes on, tick by tick. */
  advance(ticks: number): Outcome {
    for (let i = 0; i < ticks; i++) {
      this.tick = (this.tick + 1) | 0;
      this.nowMs += 1000 / TICKS_PER_SECOND;
      this.#setClock();
      if (this.tick % TICKS_PER_SECOND === 0) this.defend();
      for (const worker of this.workers) worker.tidyUp(this.tick);
    }
    return this.#take();
  }

  /** What the daemon does each second. */
  defend(): void {
    this.defense.second();
    while (this.defense.walk(this.tick) && !this.defense.isStalled);
  }

  /** Time jumps: nobody looked at the clock in between. */
  jump(ticks: number): Outcome {
    this.tick = (this.tick + ticks - 1) | 0;
    this.nowMs += ((ticks - 1) * 1000) / TICKS_PER_SECOND;
    return this.advance(1);
  }

  #take(): Outcome {
    const all: Outcome = { sent: [[], []], host: [] };
    for (const worker of this.workers) {
      const { sent, host } = worker.take();
      all.sent[0].push(...sent[0]);
      all.sent[1].push(...sent[1]);
      all.host.push(...host);
    }
    return all;
  }

  /** Frames come in at one side, to one worker, in bursts. */
  receive(side: Side, frames: Uint8Array | readonly Uint8Array[], worker = 0): Outcome {
    const list = frames instanceof Uint8Array ? [frames] : frames;
    this.workers[worker]!.receive(side, list, this.tick);
    return this.#take();
  }

  /** A verdict's or a worker's counter, summed over workers. */
  counter(name: keyof typeof DROP | keyof typeof PASS | keyof typeof COUNTER): number {
    const index = { ...DROP, ...PASS, ...COUNTER }[name];
    return this.tables.counters.reduce((sum, block) => sum + block[index]!, 0);
  }

  /** Verdicts counted since `before`, by name; those that did not change are left out. */
  verdicts(): Record<string, number> {
    const names = [...DROP_REASONS, ...PASS_REASONS];
    return Object.fromEntries(
      names.map((name) => [name, this.counter(name)] as const).filter(([, count]) => count > 0),
    );
  }

  /** All counters that are not 0. */
  counters(): Record<string, number> {
    const own = WORKER_COUNTERS.map((name) => [name, this.counter(name)] as const);
    return { ...this.verdicts(), ...Object.fromEntries(own.filter(([, count]) => count > 0)) };
  }

  connections(): ConnectionListing[] {
    return listConnections(this.tables.connections, this.tick);
  }

  assertNoLeak(): void {
    for (const worker of this.workers) worker.assertNoLeak();
  }

  // Configuration in few words.

  addService(key: Partial<ServiceKey> = {}, settings: Partial<ServiceSettings> = {}): ServiceKey {
    const service = serviceKey(key);
    this.director.execute({
      command: 'add-service',
      service,
      settings: serviceSettings(service.family === 6 ? { netmask: '128', ...settings } : settings),
    });
    return service;
  }

  addServer(
    service: ServiceKey,
    address: string,
    port = 8000,
    settings: Partial<ServerSettings> = {},
  ): void {
    this.director.execute({
      command: 'add-server',
      service,
      server: { family: address.includes(':') ? 6 : 4, address, port },
      settings: serverSettings(settings),
    });
  }

  /** Slot of a server, as the tables know it. */
  serverSlot(service: ServiceKey, address: string, port = 8000): number {
    const servers = this.director.find(service)?.servers ?? [];
    const found = servers.find(({ key }) => key.address === address && key.port === port);
    assert.ok(found, `service has no server ${address}:${port}`);
    return found.slot;
  }
}

export function serviceKey(key: Partial<ServiceKey> = {}): ServiceKey {
  return { family: 4, protocol: 'tcp', address: VIP, port: 80, fwmark: 0, ...key };
}
export function serviceSettings(settings: Partial<ServiceSettings> = {}): ServiceSettings {
  return {
    scheduler: 'rr',
    persistentTimeout: 0,
    netmask: '255.255.255.255',
    onePacket: false,
    schedulerFlags: [false, false, false],
    persistenceEngine: '',
    ...settings,
  };
}
export function serverSettings(settings: Partial<ServerSettings> = {}): ServerSettings {
  return {
    method: 'nat',
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnel: { type: 'ipip', port: 0, checksum: 'nocsum' },
    ...settings,
  };
}

/** A service with `count` real servers, rs1 added first, as most tests want it. */
export function withServers(
  simulation: Simulation,
  count: number,
  key: Partial<ServiceKey> = {},
): ServiceKey {
  const service = simulation.addService(key);
  for (let number = 1; number <= count; number++) {
    simulation.addServer(service, serverAddress(number));
  }
  return service;
}
