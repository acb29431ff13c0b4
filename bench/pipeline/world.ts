/**
 * The director of one row: a service with eight real servers, clients behind a gateway, and as many
 * connections as wanted, all made by the pipeline itself from their first packets.
 */
import { BURST_MAX, TX_WORDS } from '#xvs/port/port';
import { FRAME_HEADROOM, Umem } from '#xvs/port/umem';
import { COUNTER } from '#xvs/table/counter';
import { attachTables, createMemory, type DirectorMemory, type Tables } from '#xvs/table/memory';
import type { MakePrefetcher } from '#xvs/table/prefetch';
import { Pipeline } from '#xvs/worker/pipeline';
import { BenchHost, BenchPort } from './benchPort';
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
import { BATCH_FRAMES, CHUNK_BYTES } from './settings';

export const FIRST_TICK = 1000;
/** Where a page begins in a buffer that glibc made by mmap: chunks are page-aligned, as in C. */
const PAGE_OFFSET = 4096 - 16;
const CLIENT_ADDRESSES = 16384;
const FIRST_CLIENT_PORT = 20000;
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

export class World {
  readonly row: Row;
  readonly memory: DirectorMemory;
  readonly tables: Tables;
  readonly umem: Umem;
  readonly ports: readonly [BenchPort, BenchPort];
  readonly host = new BenchHost();
  readonly pipeline: Pipeline;
  readonly flows: Flows;
  readonly #writer: FrameWriter;

  constructor(row: Row, prefetch?: MakePrefetcher) {
    this.row = row;
    const capacity = Math.max(row.flows, 1024);
    this.memory = createMemory({ workers: 1, connectionCapacity: capacity, hashSeed: 0x5eed1234 });
    this.tables = attachTables(this.memory, () => {});
    const buffer = new SharedArrayBuffer(Umem.bufferBytes(CHUNK_BYTES, BATCH_FRAMES));
    this.umem = new Umem(buffer, PAGE_OFFSET, CHUNK_BYTES, BATCH_FRAMES);
    this.umem.clock[0] = FIRST_TICK;
    this.tables.wheels[0]!.start(FIRST_TICK);
    this.ports = [
      new BenchPort('client side', CLIENT_SIDE),
      new BenchPort('server side', SERVER_SIDE),
    ];
    const ports = this.ports.map(({ port }) => port);
    this.pipeline = new Pipeline(this.tables, 0, this.umem, ports, this.host.host, prefetch);
    addService(this.tables, row);
    addNextHops(this.tables, row, FIRST_TICK);
    this.flows = new Flows(row.flows);
    this.#writer = this.writer(this.umem.view);
    this.#connect();
  }

  /** Writes frames of this world's flows into other memory. */
  writer(view: DataView): FrameWriter {
    return new FrameWriter(view, this.row, this.flows, virtualAddress(this.row), VIRTUAL_PORT);
  }

  /** Works on the burst that `port` has prepared, as a worker does. */
  burst({ port }: BenchPort): void {
    this.pipeline.process(port, port.receive());
    this.ports[CLIENT_SIDE].port.transmit();
    this.ports[SERVER_SIDE].port.transmit();
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
    const created = this.tables.counters[0]![COUNTER.connections_created];
    if (created !== flows.count) {
      throw new Error(`${row.name}: ${flows.count} connections wanted, ${created} made`);
    }
  }

  #begin(flow: number): void {
    const { words } = this.flows;
    const at = this.flows.at(flow);
    words.set(clientAddress(this.row, flow % CLIENT_ADDRESSES), at + FLOW.client);
    words[at + FLOW.clientPort] = FIRST_CLIENT_PORT + Math.floor(flow / CLIENT_ADDRESSES);
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
