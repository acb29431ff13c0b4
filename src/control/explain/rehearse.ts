/**
 * A rehearsal: one frame through the very pipeline of the workers, on tables of its own that have
 * of the live ones what the frame can touch. Nothing live is written, so nothing is changed by it.
 *
 * Not known are what a worker has for itself alone: the next identification of packets it sends,
 * how many ICMP errors it may send in this tick, the lots that the scheduler twos draws, how many
 * packets are left until drop_packet drops one, and frames that it holds.
 */
import { finishChecksum, MemoryPort } from '../../port/memoryPort';
import type { HostPort } from '../../port/port';
import { Umem } from '../../port/umem';
import {
  COUNTER,
  counterBuffer,
  DROP_REASONS,
  type DropReason,
  PASS_REASONS,
  type PassReason,
  WORKER_COUNTERS,
} from '../../table/counter';
import { CONTROL_OWNER } from '../../table/lock';
import { attachTables, type DirectorMemory, type Tables } from '../../table/memory';
import { SchedulerTable } from '../../table/schedulerTable';
import { TimerWheel } from '../../table/timer';
import { Pipeline } from '../../worker/pipeline';
import { readArrived } from './arrived';
import { Journal, type Step } from './journal';
import type { Names } from './names';
import { type ConnectionChange, RehearsedConnections } from './rehearsedConnections';
import { RehearsedNextHops } from './rehearsedNextHops';
import { RehearsedSettings } from './rehearsedSettings';
import {
  RehearsedFragments,
  RehearsedLocalAddresses,
  RehearsedLocalities,
  RehearsedLocalPorts,
  RehearsedMarks,
  RehearsedServers,
  RehearsedServices,
} from './rehearsedTables';

const CHUNK_BYTES = 4096;
/** A packet may be cut into 128 pieces. */
const CHUNKS = 160;
/** What fits a chunk behind its headroom, with room for outer headers. */
export const FRAME_BYTES_MAX = 3686;

export type Verdict = DropReason | PassReason | 'forwarded' | 'waits_for_neighbour' | 'held';

export interface Rehearsal {
  readonly verdict: Verdict;
  /** Every counter of the worker that it adds to. */
  readonly counters: Readonly<Record<string, number>>;
  readonly steps: readonly Step[];
  readonly connections: readonly ConnectionChange[];
  /** Whose traffic it is counted as, by name; null: nobody's. */
  readonly counted: { readonly service: string | null; readonly server: string | null };
  /** Frames that would leave, by interface. */
  readonly sent: readonly { readonly slot: number; readonly frame: Uint8Array }[];
  /** Frames that the host would be given. */
  readonly host: readonly Uint8Array[];
}

/** The host's own stack: keeps what it is given, checksums finished as the kernel would. */
export class KeptHost implements HostPort {
  readonly delivered: Uint8Array[] = [];
  readonly #umem: Umem;

  constructor(umem: Umem) {
    this.#umem = umem;
  }

  deliver(offset: number, lengthBytes: number, checksum: number): boolean {
    finishChecksum(this.#umem.view, offset, lengthBytes, checksum);
    this.delivered.push(this.#umem.bytes.slice(offset, offset + lengthBytes));
    return true;
  }
}

export interface RehearsalOptions {
  readonly memory: DirectorMemory;
  readonly names: Names;
  /** Where the frame comes in. */
  readonly slot: number;
  readonly frame: Uint8Array;
  /** Ticks of 100 ms, as workers count them. */
  readonly tick: number;
  /** Which worker gets it; default 0. */
  readonly worker?: number;
}

interface World {
  readonly tables: Tables;
  readonly connections: RehearsedConnections;
  readonly counters: Float64Array;
}

function createWorld(
  { memory, names, tick }: RehearsalOptions,
  hops: number | null,
  journal: Journal,
): World {
  const live = attachTables(memory, () => {});
  const seed = live.settings.hashSeed;
  const owners = [...live.counters.keys()].map((worker) => worker + 1).concat(CONTROL_OWNER);
  const services = new RehearsedServices(memory.services, names, journal);
  const realServers = new RehearsedServers(memory.realServers, names, journal);
  const connections = new RehearsedConnections(
    live.connections,
    seed,
    realServers,
    names,
    journal,
    tick,
  );
  const wheel = new TimerWheel(TimerWheel.buffer(), connections);
  wheel.start(tick);
  const counters = new Float64Array(counterBuffer());
  // What only some schedulers and methods write is large: without them the live one is not touched.
  const tables: Tables = {
    ...live,
    settings: new RehearsedSettings(memory.settings, connections, journal),
    services,
    realServers,
    connections,
    schedulerTable: new SchedulerTable(memory.schedulerTable, services),
    ...(names.usesScheduler('lblc', 'lblcr') && {
      localities: new RehearsedLocalities(live.localities, services, realServers),
    }),
    ...(names.usesMethod('fullnat') && {
      localAddresses: new RehearsedLocalAddresses(memory.localAddresses, owners, journal),
      localPorts: new RehearsedLocalPorts(memory.localPorts, seed, owners, journal),
    }),
    fragments: new RehearsedFragments(live.fragments, seed, connections, journal),
    marks: new RehearsedMarks(memory.marks, journal),
    nextHops: new RehearsedNextHops(memory.nextHops, names, journal, hops),
    wheels: live.wheels.map(() => wheel),
    counters: live.counters.map(() => counters),
  };
  return { tables, connections, counters };
}

/** The counters that are not 0, by name. */
export function countersByName(counters: Float64Array): Record<string, number> {
  const names = [...DROP_REASONS, ...PASS_REASONS, ...WORKER_COUNTERS];
  return Object.fromEntries(
    names.map((name, at) => [name, counters[at]!] as const).filter(([, count]) => count !== 0),
  );
}

/** What became of the one frame that was counted. */
export function verdictOf(counters: Float64Array): Verdict {
  const reasons = [...DROP_REASONS, ...PASS_REASONS];
  const at = reasons.findIndex((_reason, index) => counters[index] !== 0);
  if (at >= 0) return reasons[at]!;
  if (counters[COUNTER.neighbour_waited] !== 0) return 'waits_for_neighbour';
  return counters[COUNTER.fragments_held] !== 0 ? 'held' : 'forwarded';
}

export function rehearse(options: RehearsalOptions): Rehearsal {
  const { names, slot, frame, tick, worker = 0 } = options;
  if (frame.length > FRAME_BYTES_MAX) {
    const allowed = `at most ${FRAME_BYTES_MAX} are allowed`;
    throw new RangeError(`a frame of ${frame.length} bytes: ${allowed}`);
  }
  const journal = new Journal();
  const hops = readArrived(frame, journal);
  const { tables, connections, counters } = createWorld(options, hops, journal);
  const buffer = new SharedArrayBuffer(Umem.bufferBytes(CHUNK_BYTES, CHUNKS));
  const umem = new Umem(buffer, 0, CHUNK_BYTES, CHUNKS);
  umem.clock[0] = tick;
  umem.clock[1] = Math.imul(tick, 100_000);
  const ports = names.interfaces.map((name, at) => new MemoryPort(name, at, umem));
  const host = new KeptHost(umem);
  const pipeline = new Pipeline(tables, worker, umem, ports, host);
  const port = ports[slot]!;
  port.inject(frame);
  pipeline.process(port, port.receive());
  const sent = ports.flatMap((each) => {
    each.transmit();
    return each.drain().map((bytes) => ({ slot: each.slot, frame: bytes }));
  });
  const verdict = verdictOf(counters);
  if (verdict === 'ttl_exceeded') {
    const text = `${hops} when it came: no router forwards it`;
    journal.insertAfter(['next hop', 'state'], 'ttl', text);
  }
  return {
    verdict,
    counters: countersByName(counters),
    steps: journal.steps,
    connections: connections.changes,
    counted: names.counted(counters),
    sent,
    host: host.delivered,
  };
}
