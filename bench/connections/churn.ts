/**
 * Connections that come and go: every frame is the first of a connection that never was before,
 * and as many end as begin, so that the table stays as full as it is. Births and ends are timed
 * apart, in the order in which a worker's loop has them.
 *
 * A batch of first packets is written into the chunks untimed; then the clock goes on by a tick,
 * and burst by burst: receive, pipeline, transmit; what the timer wheel has due, at most as much
 * as the loop takes in one round.
 */
import { BURST_MAX } from '#xvs/port/port';
import { FRAME_HEADROOM } from '#xvs/port/umem';
import { COUNTER, DROP } from '#xvs/table/counter';
import { attachTables, type DirectorMemory, type Tables } from '#xvs/table/memory';
import type { MakePrefetcher } from '#xvs/table/prefetch';
import { SYN_RECV, UDP_NORMAL } from '#xvs/table/state';
import { DUE_MAX } from '#xvs/worker/expire';
import { BenchWorker, FIRST_TICK } from '../pipeline/benchWorker';
import {
  addNextHops,
  addService,
  clientAddress,
  VIRTUAL_PORT,
  virtualAddress,
} from '../pipeline/director';
import { FLOW, Flows, FrameWriter, TCP_SYN } from '../pipeline/frame';
import { frameBytes, type Row } from '../pipeline/row';
import { BATCH_FRAMES, CHUNK_BYTES } from '../pipeline/settings';

/** Connections that begin in a tick of the wheel. */
const BIRTHS = BATCH_FRAMES;
const CLIENT_ADDRESSES = 1 << 18;
const FIRST_CLIENT_PORT = 1024;
/** Longer than a bench runs. */
const FOREVER_TICKS = 1 << 29;
/** Of one worker, so that no two have a flow in common. */
const CLIENT_PORTS = 31_000;

export interface ChurnOptions {
  readonly row: Row;
  readonly scheduler: string;
  readonly servers: number;
  /** Connections that the table holds all the time. */
  readonly live: number;
}

/**
 * Nanoseconds a connection: medians over bursts of 128, so short that one during which something
 * else had the CPU does not count.
 */
export interface ChurnTimes {
  readonly birth: number;
  readonly end: number;
}

export class Churn {
  readonly tables: Tables;
  readonly #worker: BenchWorker;
  readonly #counters: Float64Array;
  readonly #options: ChurnOptions;
  readonly #first: number;
  readonly #writer: FrameWriter;
  readonly #flow = new Flows(1);
  /** Ticks a connection lives. */
  readonly #ticks: number;
  /** Flows begun so far. */
  #begun = 0;

  /** The table is empty at first. `worker`: its number; 0 makes service and next hops. */
  constructor(
    memory: DirectorMemory,
    worker: number,
    options: ChurnOptions,
    prefetch?: MakePrefetcher,
  ) {
    const { row, scheduler, servers } = options;
    this.tables = attachTables(memory, () => {});
    this.#worker = new BenchWorker(this.tables, worker, prefetch);
    this.#counters = this.tables.counters[worker]!;
    this.#options = options;
    this.#first = FIRST_CLIENT_PORT + worker * CLIENT_PORTS;
    if (worker === 0) {
      addService(this.tables, row, scheduler, servers);
      addNextHops(this.tables, row, FIRST_TICK, servers);
    }
    const { view, bytes } = this.#worker.umem;
    // Touched now: what the process grows by later is the tables'.
    bytes.fill(0);
    this.#writer = new FrameWriter(view, row, this.#flow, virtualAddress(row), VIRTUAL_PORT);
    this.#ticks = Math.max(2, Math.round(options.live / BIRTHS));
  }

  get created(): number {
    return this.#counters[COUNTER.connections_created]!;
  }

  get expired(): number {
    return this.#counters[COUNTER.connections_expired]!;
  }

  /** Connections that were not made, since another worker held a lock for too long. */
  get busy(): number {
    return this.#counters[DROP.lock_busy]!;
  }

  /** The first packet of the next flow, at a chunk. */
  #write(chunk: number): void {
    const { words } = this.#flow;
    const flow = this.#begun++;
    words.set(clientAddress(this.#options.row, flow % CLIENT_ADDRESSES), FLOW.client);
    const port = Math.floor(flow / CLIENT_ADDRESSES) % CLIENT_PORTS;
    words[FLOW.clientPort] = this.#first + port;
    this.#writer.writeInbound(chunk * CHUNK_BYTES + FRAME_HEADROOM, 0, TCP_SYN);
  }

  #burst(first: number, count: number): void {
    const side = this.#worker.ports[0];
    const at = first * CHUNK_BYTES + FRAME_HEADROOM;
    side.prepare(at, CHUNK_BYTES, count, frameBytes(this.#options.row));
    this.#worker.burst(side);
  }

  #live(ticks: number): void {
    const { timeouts } = this.tables.settings;
    timeouts[SYN_RECV] = ticks;
    timeouts[UDP_NORMAL] = ticks;
  }

  /**
   * To be called first. Connections that end in no order, each after a time of its own; then as
   * many ticks as they live. Entries lie in the table in no order then, as they do after hours of
   * traffic.
   */
  fill(): void {
    const { live } = this.#options;
    let random = 0x2545f491;
    for (let done = 0; done < live; done++) {
      random ^= random << 13;
      random ^= random >>> 17;
      random ^= random << 5;
      this.#live(1 + ((random >>> 0) % this.#ticks));
      this.#write(0);
      this.#burst(0, 1);
    }
    this.#live(this.#ticks);
    for (let tick = 0; tick <= this.#ticks; tick++) this.#batch();
  }

  /** Connections that do not end, until there is room for no more. Returns how many. */
  fillUp(): number {
    this.#live(FOREVER_TICKS);
    const made = this.created;
    for (let before = -1; before < this.created; ) {
      before = this.created;
      for (let chunk = 0; chunk < BIRTHS; chunk++) this.#write(chunk);
      for (let first = 0; first < BIRTHS; first += BURST_MAX) this.#burst(first, BURST_MAX);
    }
    return this.created - made;
  }

  /** Nanoseconds of each burst, and of each look at the wheel that ended something. */
  readonly #births = new Samples();
  readonly #ends = new Samples();

  #batch(): void {
    const { umem, pipeline } = this.#worker;
    for (let chunk = 0; chunk < BIRTHS; chunk++) this.#write(chunk);
    umem.clock[0]! += 1;
    const tick = umem.clock[0]!;
    const { created, busy } = this;
    let due = 1;
    for (let first = 0; first < BIRTHS || due > 0; first += BURST_MAX) {
      const before = performance.now();
      if (first < BIRTHS) this.#burst(first, BURST_MAX);
      const between = performance.now();
      const { expired } = this;
      // As the loop: after each burst, while anything is due.
      if (due > 0) due = pipeline.expire(tick, DUE_MAX);
      const after = performance.now();
      if (first < BIRTHS) this.#births.add((between - before) / BURST_MAX);
      if (this.expired > expired) this.#ends.add((after - between) / (this.expired - expired));
    }
    const made = this.created - created;
    if (made + this.busy - busy !== BIRTHS) {
      throw new Error(`${BIRTHS} connections wanted, ${made} made`);
    }
  }

  /** So many batches of BATCH_FRAMES connections. Throws when one is not made, unless `busy`. */
  run(batches: number): ChurnTimes {
    this.#births.clear();
    this.#ends.clear();
    for (let batch = 0; batch < batches; batch++) this.#batch();
    return { birth: this.#births.median() * 1e6, end: this.#ends.median() * 1e6 };
  }
}

/** Times, as many as there is room for. */
class Samples {
  readonly #values = new Float64Array(1 << 16);
  #count = 0;

  clear(): void {
    this.#count = 0;
  }

  add(value: number): void {
    if (this.#count < this.#values.length) this.#values[this.#count++] = value;
  }

  median(): number {
    const sorted = this.#values.slice(0, this.#count).sort();
    return sorted[this.#count >> 1] ?? 0;
  }
}
