/**
 * The director of one row: a service with eight real servers, clients behind a gateway, and as many
 * connections as wanted, all made by the pipeline itself from their first packets.
 */

import { addon, lineOffset } from '#xvs/port/addon';
import { BURST_MAX, TX_WORDS } from '#xvs/port/port';
import { FRAME_HEADROOM } from '#xvs/port/umem';
import { CONNECTIONS_MAX } from '#xvs/table/connection';
import { COUNTER } from '#xvs/table/counter';
import {
  attachTables,
  createMemory,
  type DirectorMemory,
  scatteredTables,
  type Tables,
} from '#xvs/table/memory';
import type { MakePrefetcher } from '#xvs/table/prefetch';
import { BenchWorker, FIRST_TICK } from './benchWorker';
import {
  addNextHops,
  addService,
  CLIENT_SIDE,
  clientAddress,
  SERVER_MAC_LOW,
  SERVER_SIDE,
  VIRTUAL_PORT,
  virtualAddress,
} from './director';
import { clientSequence, FLOW, Flows, FrameWriter, TCP_ACK, TCP_SYN } from './frame';
import { frameBytes, isOneWay, type Row } from './row';
import { CHUNK_BYTES } from './settings';

const CLIENT_ADDRESSES = 16384;
const FIRST_CLIENT_PORT = 20000;
/** No two workers have a flow in common. */
const WORKER_CLIENT_PORTS = 1100;
const HASH_SEED = 0x5eed1234;
const OWN_STOCK_MAX = 128;
const ETHERNET = 14;

/** Which way, and with which TCP flags: what makes a connection. */
type Step = readonly ['in' | 'out', number];
const STEPS = {
  udp: {
    oneWay: [['in', 0]],
    bothWays: [
      ['in', 0],
      ['out', 0],
    ],
  },
  tcp: {
    oneWay: [
      ['in', TCP_SYN],
      ['in', TCP_ACK],
    ],
    bothWays: [
      ['in', TCP_SYN],
      ['out', TCP_SYN | TCP_ACK],
      ['in', TCP_ACK],
      ['out', TCP_ACK],
    ],
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, readonly Step[]>>>>;

/** What a world has in common with those of other workers. */
export interface SharedPlace {
  readonly memory: DirectorMemory;
  /** Number of this worker: the first one, 0, makes service, routes and neighbours. */
  readonly worker: number;
}

/** Memory for the connections of a row, with as many for each further worker. */
export function worldMemory(row: Row, workers: number): DirectorMemory {
  // Each keeps some free entries to itself, which the others cannot have.
  const spare = workers === 1 ? 0 : OWN_STOCK_MAX;
  const wanted = (Math.max(row.flows, 1024) + spare) * workers;
  const connectionCapacity = Math.min(CONNECTIONS_MAX, wanted);
  const memory = createMemory({ workers, connectionCapacity, hashSeed: HASH_SEED, lineOffset });
  // As the daemon does, and contenderInC.c.
  for (const buffer of scatteredTables(memory)) addon.adviseHugePages(buffer);
  return memory;
}

export class World extends BenchWorker {
  readonly row: Row;
  readonly memory: DirectorMemory;
  readonly tables: Tables;
  readonly flows: Flows;
  readonly #worker: number;
  readonly #writer: FrameWriter;

  constructor(row: Row, prefetch?: MakePrefetcher, shared?: SharedPlace) {
    const memory = shared?.memory ?? worldMemory(row, 1);
    const worker = shared?.worker ?? 0;
    const tables = attachTables(memory, () => {});
    super(tables, worker, prefetch);
    this.row = row;
    this.memory = memory;
    this.tables = tables;
    this.#worker = worker;
    if (worker === 0) {
      addService(tables, row);
      addNextHops(tables, row, FIRST_TICK);
    }
    this.flows = new Flows(row.flows);
    this.#writer = this.writer(this.umem.view);
    this.#connect();
  }

  /** Writes frames of this world's flows into other memory. */
  writer(view: DataView): FrameWriter {
    return new FrameWriter(view, this.row, this.flows, virtualAddress(this.row), VIRTUAL_PORT);
  }

  /** Makes the connections and has each remember its next hops. */
  #connect(): void {
    const { row, flows } = this;
    const steps: readonly Step[] = STEPS[row.protocol][isOneWay(row) ? 'oneWay' : 'bothWays'];
    for (let flow = 0; flow < flows.count; flow++) this.#begin(flow);
    for (let first = 0; first < flows.count; first += BURST_MAX) {
      const count = Math.min(BURST_MAX, flows.count - first);
      steps.forEach(([direction, flags], number) => {
        this.#step(first, count, direction, flags, number === 0);
      });
    }
    const created = this.tables.counters[this.#worker]![COUNTER.connections_created];
    if (created !== flows.count) {
      throw new Error(`${row.name}: ${flows.count} connections wanted, ${created} made`);
    }
  }

  #begin(flow: number): void {
    const { words } = this.flows;
    const at = this.flows.at(flow);
    words.set(clientAddress(this.row, flow % CLIENT_ADDRESSES), at + FLOW.client);
    const first = FIRST_CLIENT_PORT + this.#worker * WORKER_CLIENT_PORTS;
    words[at + FLOW.clientPort] = first + Math.floor(flow / CLIENT_ADDRESSES);
  }

  /** One packet of each of some flows. `isFirst`: what leaves tells who serves the flow. */
  #step(
    first: number,
    count: number,
    direction: 'in' | 'out',
    flags: number,
    isFirst: boolean,
  ): void {
    const [arrives, leaves] =
      direction === 'in' ? [CLIENT_SIDE, SERVER_SIDE] : [SERVER_SIDE, CLIENT_SIDE];
    for (let i = 0; i < count; i++) {
      const at = i * CHUNK_BYTES + FRAME_HEADROOM;
      const flow = this.flows.at(first + i);
      if (direction === 'in') this.#writer.writeInbound(at, flow, flags);
      else this.#writer.writeOutbound(at, flow, flags);
    }
    const side = this.ports[arrives]!;
    side.prepare(FRAME_HEADROOM, CHUNK_BYTES, count, frameBytes(this.row));
    let seen = 0;
    this.ports[leaves]!.observer = (tx, txCount) => {
      for (let i = 0; i < txCount && isFirst; i++) {
        this.#learn(this.flows.at(first + seen + i), tx[i * TX_WORDS]!);
      }
      seen += txCount;
    };
    this.burst(side);
    this.ports[leaves]!.observer = null;
    if (seen !== count) throw new Error(`${this.row.name}: ${seen} of ${count} were forwarded`);
  }

  /** Who serves the flow, and whom it answers to: as the frame that leaves has it. */
  #learn(flow: number, at: number): void {
    const { view } = this.umem;
    const { row } = this;
    const { words } = this.flows;
    words[flow + FLOW.serverNumber] = view.getUint16(at + 4) - SERVER_MAC_LOW;
    if (isOneWay(row)) return;
    const isIpv4 = row.family === 4;
    const ip = at + ETHERNET;
    const transport = ip + (isIpv4 ? 20 : 40);
    for (let word = 0; word < (isIpv4 ? 1 : 4); word++) {
      words[flow + FLOW.reply + word] = view.getInt32(ip + (isIpv4 ? 12 : 8) + word * 4);
      words[flow + FLOW.server + word] = view.getInt32(ip + (isIpv4 ? 16 : 24) + word * 4);
    }
    const ports = view.getInt32(transport);
    words[flow + FLOW.replyPorts] = (ports << 16) | (ports >>> 16);
    if (row.protocol !== 'tcp') return;
    const ours = clientSequence((words[flow + FLOW.clientPort]! << 16) | VIRTUAL_PORT);
    words[flow + FLOW.sequenceDelta] = view.getInt32(transport + 4) - ours;
  }
}
