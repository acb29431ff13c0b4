/**
 * The control plane's side of a trace: writes the filter, reads the workers' rings some times a
 * second. One session at a time. It is on for as long as its messages are read and its seconds
 * last: a timer ends it, for nothing comes by here while its reader does not read.
 */
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import type { Tables } from '../../table/memory';
import { TRACE_CONTROL, TRACE_FRAME_BYTES } from '../../table/trace';
import { DirectorError } from '../error';
import { parseFilter } from './filterParse';
import { compileFilter, type FilterProgram, writeProgram } from './filterProgram';
import { FilterError } from './filterWords';
import { PacketReader } from './packet';
import type { TracedPacket, TraceEnd, TraceMessage, TraceRequest } from './protocol';
import { Rings } from './rings';

const { session: SESSION, snapBytes: SNAP_BYTES } = TRACE_CONTROL.at;
const READ_MS = 50;
/** Read in one turn of the event loop. */
const PACKETS_AT_ONCE = 64;
/** How long the next message may wait for its reader. */
const PATIENCE_MS = 60_000;

export class Trace {
  readonly #tables: Tables;
  readonly #interfaces: readonly string[];
  readonly #patienceMs: number;
  #session: Session | null = null;
  #sessions = 0;

  /** `interfaces`: names in slot order. */
  constructor(tables: Tables, interfaces: readonly string[], patienceMs = PATIENCE_MS) {
    this.#tables = tables;
    this.#interfaces = interfaces;
    this.#patienceMs = patienceMs;
  }

  /**
   * Messages of one session, which ends with them. Throws a DirectorError for a filter that makes
   * no sense, and while another session is on.
   */
  start(request: TraceRequest): AsyncGenerator<TraceMessage> {
    const program = programOf(request.filter);
    this.#refuseSecond();
    return this.#messages(request, program);
  }

  #refuseSecond(): void {
    if (this.#session?.isOn !== true) return;
    throw new DirectorError('ERR_BUSY', 'another trace is on; one is allowed');
  }

  async *#messages(request: TraceRequest, program: FilterProgram): AsyncGenerator<TraceMessage> {
    // Asked for at the same time, the other was first.
    this.#refuseSecond();
    const session = this.#open(request, program);
    this.#session = session;
    try {
      for await (const message of this.#told(session, request.count || Infinity)) {
        session.isWaiting = true;
        yield message;
        session.isWaiting = false;
      }
    } finally {
      session.end();
    }
  }

  async *#told(session: Session, most: number): AsyncGenerator<TraceMessage> {
    yield { kind: 'started', interfaces: this.#interfaces };
    let packets = 0;
    let lost = 0;
    let isMore = false;
    let isLast = false;
    while (packets < most && (isMore || !isLast)) {
      // What comes after it was stopped is little, and known by the next look.
      isLast = session.isStopped;
      if (isMore) await turn();
      else await sleep(READ_MS);
      const read = session.read(Math.min(PACKETS_AT_ONCE, most - packets));
      packets += read.length;
      if (packets === most) session.stop();
      yield* read;
      const lostNow = session.takeLost();
      lost += lostNow;
      // Between two messages a reader that has gone ends this: so there is one each time.
      yield { kind: 'lost', packets: lostNow };
      isMore = read.length === PACKETS_AT_ONCE;
    }
    yield { kind: 'ended', packets, lost, cause: packets < most ? session.cause : 'count' };
  }

  /** Writes the filter and has the workers begin. */
  #open({ snapBytes, seconds }: TraceRequest, program: FilterProgram): Session {
    const { words } = this.#tables.trace;
    this.#sessions++;
    words[SNAP_BYTES] = Math.min(snapBytes, TRACE_FRAME_BYTES);
    writeProgram(this.#tables.trace, program);
    const reader = new PacketReader(this.#tables, this.#interfaces);
    const rings = new Rings(this.#tables.trace, this.#sessions, reader);
    Atomics.store(words, SESSION, this.#sessions);
    return new Session(words, rings, seconds * 1000, this.#patienceMs);
  }
}

function programOf(filter: string): FilterProgram {
  try {
    return compileFilter(parseFilter(filter));
  } catch (error) {
    if (error instanceof FilterError) throw new DirectorError('ERR_VALUE', error.message);
    throw error;
  }
}

/**
 * One session. Stopped, the workers keep nothing more; what they have kept can still be read, until
 * it is off: then the rings may be another's.
 */
class Session {
  readonly #words: Int32Array;
  readonly #rings: Rings;
  readonly #duration: NodeJS.Timeout | undefined;
  readonly #patience: NodeJS.Timeout;
  #lost = 0;
  #isWaiting = false;
  isStopped = false;
  isOn = true;
  /** Why it was stopped. */
  cause: TraceEnd = 'seconds';

  /** `durationMs`: 0 for no end. */
  constructor(words: Int32Array, rings: Rings, durationMs: number, patienceMs: number) {
    this.#words = words;
    this.#rings = rings;
    if (durationMs > 0) this.#duration = setTimeout(() => this.stop(), durationMs).unref();
    this.#patience = setTimeout(() => this.#abandon(), patienceMs).unref();
  }

  /** Is there a message that its reader has not taken? */
  set isWaiting(isWaiting: boolean) {
    this.#isWaiting = isWaiting;
    if (isWaiting && this.isOn) this.#patience.refresh();
  }

  read(most: number): TracedPacket[] {
    return this.isOn ? this.#rings.read(most) : [];
  }

  /** Packets lost since this was last asked. */
  takeLost(): number {
    if (this.isOn) this.#lost += this.#rings.takeLost();
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  end(): void {
    clearTimeout(this.#duration);
    clearTimeout(this.#patience);
    this.stop();
    this.isOn = false;
  }

  /** Workers keep nothing more. */
  stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    Atomics.store(this.#words, SESSION, 0);
  }

  /** Nobody reads: what is in the rings is lost. */
  #abandon(): void {
    if (!this.#isWaiting) return;
    if (!this.isStopped) this.cause = 'unread';
    this.#lost += this.#rings.skip() + this.#rings.takeLost();
    this.end();
  }
}
