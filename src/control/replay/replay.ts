/**
 * The data plane over a capture: the pipeline of a worker on plain tables and memory ports, with
 * the capture's own time, and neither root nor a network. The same input gives the same output:
 * seeds are fixed, and what the capture does not say is made up by rule (surroundings.ts).
 *
 * Not carried out: the defense (drop_entry and its kin, which draws lots), and health of links.
 */
import { MemoryPort } from '../../port/memoryPort';
import { Umem } from '../../port/umem';
import { DROP_REASONS, PASS_REASONS, WORKER_COUNTERS } from '../../table/counter';
import { attachTables, createMemory, type Tables } from '../../table/memory';
import { NEIGHBOURS_MAX } from '../../table/neighbour';
import { NEXT_HOP_CAPACITY_DEFAULT } from '../../table/nextHop';
import { DUE_MAX } from '../../worker/expire';
import { Pipeline } from '../../worker/pipeline';
import type { Config } from '../config';
import { Director } from '../director';
import { countersByName, KeptHost, type Verdict, verdictOf } from '../explain/rehearse';
import { listServices } from '../listing';
import { Marks } from '../mark/marks';
import type { ServiceListing } from '../protocol';
import type { Capture, CapturedPacket } from './captureFile';
import type { WrittenPacket } from './captureWriter';
import { Surroundings } from './surroundings';

const CHUNK_BYTES = 4096;
const CHUNKS = 1024;
/** What a chunk holds behind its headroom, with room for outer headers. */
export const REPLAY_FRAME_MAX = 3686;
const HASH_SEED = 0x2545f491;
/** The clock at the capture's first packet, in ticks of 100 ms. */
const FIRST_TICK = 1000;
const TICK_NANOSECONDS = 100_000_000n;
/** Ticks that are worked off one by one; of a longer silence only the last ones. */
const TICKS_EACH_MAX = 36_000;
const DUE_ROUNDS_MAX = 100_000;
const OWN_COUNTERS = DROP_REASONS.length + PASS_REASONS.length + WORKER_COUNTERS.length;

/** What became of one packet of the capture. */
export interface PacketVerdict {
  readonly number: number;
  /** Seconds since the first packet. */
  readonly seconds: number;
  readonly interface: string;
  readonly lengthBytes: number;
  /** A reason that begins with "not_received" is no counter: the director did not get it. */
  readonly verdict: Verdict | `not_received: ${string}`;
  readonly counters: Readonly<Record<string, number>>;
  /** Frames that left because of it. */
  readonly sent: number;
}

export interface ReplayResult {
  readonly packets: readonly PacketVerdict[];
  readonly sent: readonly WrittenPacket[];
  readonly counters: Readonly<Record<string, number>>;
  readonly services: readonly ServiceListing[];
  /** Hosts whose MAC is made up. */
  readonly invented: readonly string[];
}

/** Where identifications begin is drawn by lot in a worker; here it is always the same place. */
function withoutLots<Made>(make: () => Made): Made {
  const { random } = Math;
  Math.random = () => 0.5;
  try {
    return make();
  } finally {
    Math.random = random;
  }
}

function earliest({ packets }: Capture): bigint {
  let first = packets[0]?.nanoseconds ?? 0n;
  for (const { nanoseconds } of packets) if (nanoseconds < first) first = nanoseconds;
  return first;
}

class ReplayedWorker {
  readonly ports: readonly MemoryPort[];
  readonly host: KeptHost;
  readonly #umem: Umem;
  readonly #pipeline: Pipeline;

  constructor(tables: Tables, names: readonly string[]) {
    const buffer = new SharedArrayBuffer(Umem.bufferBytes(CHUNK_BYTES, CHUNKS));
    const umem = new Umem(buffer, 0, CHUNK_BYTES, CHUNKS);
    this.#umem = umem;
    this.ports = names.map((name, slot) => new MemoryPort(name, slot, umem));
    this.host = new KeptHost(umem);
    this.#pipeline = withoutLots(() => new Pipeline(tables, 0, umem, this.ports, this.host));
  }

  setClock(tick: number): void {
    this.#umem.clock[0] = tick;
    this.#umem.clock[1] = Math.imul(tick, 100_000);
  }

  receive(slot: number, frame: Uint8Array): void {
    const port = this.ports[slot]!;
    port.inject(frame);
    this.#pipeline.process(port, port.receive());
    for (const each of this.ports) each.transmit();
  }

  /** What a worker does beside its bursts. */
  tidyUp(tick: number): void {
    const { egress, fragments, expiry } = this.#pipeline;
    egress.retry(tick);
    fragments.run(tick);
    for (let round = 0; expiry.run(tick, DUE_MAX) > 0; round++) {
      if (round === DUE_ROUNDS_MAX) throw new Error('the timer wheel does not come to an end');
    }
    for (const port of this.ports) port.transmit();
    this.host.delivered.length = 0;
  }
}

export class Replay {
  readonly #config: Config;
  readonly #capture: Capture;
  readonly #surroundings: Surroundings;
  readonly #tables: Tables;
  readonly #director: Director;
  readonly #worker: ReplayedWorker;
  readonly #names: readonly string[];
  readonly #start: bigint;
  readonly #sent: WrittenPacket[] = [];
  #tick = FIRST_TICK;

  /** Throws a DirectorError or MarkError for what a running director would refuse. */
  constructor(config: Config, capture: Capture) {
    this.#config = config;
    this.#capture = capture;
    this.#names = config.interfaces.map(({ name }) => name);
    this.#surroundings = new Surroundings(config, capture);
    const memory = createMemory({
      workers: 1,
      connectionCapacity: config.connections.capacity,
      hashSeed: HASH_SEED,
      nextHops: { ...NEXT_HOP_CAPACITY_DEFAULT, neighbours: NEIGHBOURS_MAX },
    });
    this.#tables = attachTables(memory, () => {});
    this.#director = new Director(
      this.#tables,
      () => {},
      () => 0,
    );
    this.#configure();
    for (const wheel of this.#tables.wheels) wheel.start(FIRST_TICK);
    this.#surroundings.write(this.#tables.nextHops, FIRST_TICK);
    this.#worker = new ReplayedWorker(this.#tables, this.#names);
    this.#start = earliest(capture);
  }

  #configure(): void {
    const { timeouts, sysctl, services, marks } = this.#config;
    this.#director.execute({ command: 'set-timeouts', timeouts });
    this.#director.sysctls.set(sysctl);
    this.#director.apply(services);
    const published = new Marks(this.#names, (rules) => this.#tables.marks.publish(rules));
    published.replace(marks);
  }

  run(): ReplayResult {
    const packets = this.#capture.packets.map((packet) => this.#packet(packet));
    const [counters] = this.#tables.counters;
    const invented = [...this.#surroundings.neighbours]
      .filter(([, { isInvented }]) => isInvented)
      .map(([address]) => address);
    return {
      packets,
      sent: this.#sent,
      counters: countersByName(counters!),
      services: listServices(this.#director).services,
      invented,
    };
  }

  #packet(packet: CapturedPacket): PacketVerdict {
    const { number, frame, nanoseconds } = packet;
    this.#advance(nanoseconds);
    const slot = this.#surroundings.slotOf(packet);
    const seconds = Number(nanoseconds - this.#start) / 1e9;
    const said = {
      number,
      seconds,
      interface: this.#names[slot]!,
      lengthBytes: packet.wireBytes,
    };
    const refusal = this.#refusal(packet, slot);
    if (refusal !== null) {
      return { ...said, verdict: `not_received: ${refusal}`, counters: {}, sent: 0 };
    }
    const [counters] = this.#tables.counters;
    const before = counters!.slice(0, OWN_COUNTERS);
    this.#worker.receive(slot, frame);
    const grown = before.map((count, at) => counters![at]! - count);
    const sent = this.#keep(nanoseconds);
    this.#worker.host.delivered.length = 0;
    return { ...said, verdict: verdictOf(grown), counters: countersByName(grown), sent };
  }

  #refusal(packet: CapturedPacket, slot: number): string | null {
    if (packet.wireBytes > packet.frame.length) return 'cut_by_capture';
    if (packet.frame.length > REPLAY_FRAME_MAX) return 'too_long';
    return this.#surroundings.refusal(packet, slot);
  }

  /** What has left since is stamped with this time. */
  #keep(nanoseconds: bigint): number {
    const before = this.#sent.length;
    for (const port of this.#worker.ports) {
      for (const frame of port.drain()) {
        this.#sent.push({ nanoseconds, interface: port.slot, frame });
      }
    }
    return this.#sent.length - before;
  }

  /** Time goes on to a packet's; it never goes back, whatever the stamps say. */
  #advance(nanoseconds: bigint): void {
    const since = nanoseconds - this.#start;
    const target = FIRST_TICK + Number(since / TICK_NANOSECONDS);
    this.#worker.setClock(this.#tick);
    this.#tick = Math.max(this.#tick, target - TICKS_EACH_MAX);
    while (this.#tick < target) {
      this.#tick++;
      this.#worker.setClock(this.#tick);
      this.#worker.tidyUp(this.#tick);
      this.#keep(this.#start + BigInt(this.#tick - FIRST_TICK) * TICK_NANOSECONDS);
    }
  }
}
