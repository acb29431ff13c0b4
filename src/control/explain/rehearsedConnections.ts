/**
 * The connection table of a rehearsal: empty at first. What the pipeline looks up in it is looked
 * up in the live table too, and a live entry that is found is copied before it is answered. So it
 * has what the packet in hand can touch and nothing else, however large the live table is, and no
 * question that the pipeline asks of connections has to be known here.
 *
 * An entry that was copied once is not copied again: what the rehearsal ended stays ended. Memory:
 * this object's own; the live table is only read.
 */
import {
  CONNECTION,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_SERVER_BITS,
  CONNECTION_TEMPLATE,
  CONNECTIONS_MIN,
  ConnectionTable,
  ENTRY_SHIFT,
  kindProtocol,
} from '../../table/connection';
import type { RealServerTable } from '../../table/realServer';
import { repliesReturn } from '../../worker/birth';
import {
  EntryAddress,
  EntryCopy,
  LISTED_STATES,
  listConnection,
  listedState,
} from '../connectionListing';
import { protocolName } from './frameText';
import type { Journal } from './journal';
import { addressText, addressText6, endText, type Names } from './names';

const AT = CONNECTION.at;
const WORDS = CONNECTION.size;
/** Kinds from here on are those of persistence templates. */
const TEMPLATE_KINDS = 0xe0;

/** What a rehearsal made of an entry. */
export interface ConnectionChange {
  /** null: it was not there before. */
  readonly before: string | null;
  /** null: it is over. */
  readonly after: string | null;
}

export class RehearsedConnections extends ConnectionTable {
  readonly #live: ConnectionTable;
  readonly #servers: RealServerTable;
  readonly #names: Names;
  readonly #journal: Journal;
  readonly #tick: number;
  /** Live entries that are here, by their numbers there. */
  readonly #adopted = new Map<number, number>();
  /** What entries here were like when they came, null for new ones. */
  readonly #before = new Map<number, string | null>();
  /** State of the packet's connection when it came; null: it begins one, or has none. */
  stateBefore: string | null = null;

  constructor(
    live: ConnectionTable,
    seed: number,
    servers: RealServerTable,
    names: Names,
    journal: Journal,
    tick: number,
  ) {
    super(ConnectionTable.buffers(CONNECTIONS_MIN), seed);
    this.#live = live;
    this.#servers = servers;
    this.#names = names;
    this.#journal = journal;
    this.#tick = tick;
  }

  override find(
    hash: number,
    kind: number,
    source: number,
    destination: number,
    ports: number,
    tick: number,
  ): number {
    let entry = super.find(hash, kind, source, destination, ports, tick);
    if (entry === 0) {
      entry = this.#take(this.#live.find(hash, kind, source, destination, ports, tick), tick);
    }
    const from = endText(addressText(4, [source]), ports >>> 16);
    const to = endText(addressText(4, [destination]), ports & 0xffff);
    this.#report(kind, from, to, entry);
    return entry;
  }

  override find6(
    hash: number,
    kind: number,
    view: DataView,
    sourceAt: number,
    destinationAt: number,
    ports: number,
    tick: number,
  ): number {
    let entry = super.find6(hash, kind, view, sourceAt, destinationAt, ports, tick);
    if (entry === 0) {
      const live = this.#live.find6(hash, kind, view, sourceAt, destinationAt, ports, tick);
      entry = this.#take(live, tick);
    }
    const from = endText(addressText6(view, sourceAt), ports >>> 16);
    const to = endText(addressText6(view, destinationAt), ports & 0xffff);
    this.#report(kind, from, to, entry);
    return entry;
  }

  /** Where the live table is full, this one is. */
  override allocate(worker: number): number {
    if (this.#live.freeCount === 0) {
      this.#journal.say('connection', 'the connection table is full');
      return 0;
    }
    const entry = super.allocate(worker);
    if (entry !== 0) this.#before.set(entry, null);
    if (this.stateBefore !== null) {
      this.#journal.say(
        'connection',
        `a new one begins in the place of that in ${this.stateBefore}`,
      );
    }
    this.stateBefore = null;
    return entry;
  }

  override insert(entry: number, owner: number, both: boolean, tick: number): number {
    return this.#journal.silently(() => super.insert(entry, owner, both, tick));
  }

  /** The copy of a live entry, 0 for none or one whose copy is over. */
  adopt(live: number, tick: number): number {
    const known = this.#adopted.get(live);
    if (known !== undefined) return known;
    const entry = super.allocate(0);
    if (entry === 0) throw new Error('explain: a packet that touches a thousand connections');
    this.#adopted.set(live, entry);
    this.#copy(live, entry, tick);
    const at = entry << ENTRY_SHIFT;
    const word = this.entries[at + AT.state]!;
    const isTemplate = (word & CONNECTION_TEMPLATE) !== 0;
    const both = !isTemplate && repliesReturn((word >>> CONNECTION_METHOD_SHIFT) & 0xf);
    this.insert(entry, 1, both, tick);
    if (!isTemplate) this.stateBefore = LISTED_STATES[listedState(word)]!;
    this.#before.set(entry, this.describe(entry));
    return entry;
  }

  #take(live: number, tick: number): number {
    return live === 0 || this.#adopted.has(live) ? 0 : this.adopt(live, tick);
  }

  #copy(live: number, entry: number, tick: number): void {
    const from = live << ENTRY_SHIFT;
    const at = entry << ENTRY_SHIFT;
    const { entries, extension, born } = this.#live;
    this.entries.set(entries.subarray(from, from + WORDS), at);
    this.extension.set(extension.subarray(from, from + WORDS), at);
    this.born[entry] = born[live]!;
    // On no timer here; taking it off one must find nothing to write to.
    this.entries[at + AT.timerNext] = 0;
    this.entries[at + AT.timerPrevious] = -1;
    const template = this.entries[at + AT.control]!;
    const isTemplate = (this.entries[at + AT.state]! & CONNECTION_TEMPLATE) !== 0;
    if (!isTemplate && template !== 0) this.entries[at + AT.control] = this.adopt(template, tick);
  }

  #report(kind: number, from: string, to: string, entry: number): void {
    const what = kind >= TEMPLATE_KINDS ? 'template' : 'connection';
    const number = kindProtocol(kind);
    const protocol = number === 0 ? 'any protocol' : protocolName(number);
    const found = entry === 0 ? 'none' : (this.describe(entry) ?? 'one that has expired');
    this.#journal.say(what, `${protocol} ${from} to ${to}: ${found}`);
  }

  /** An entry in words; null: it is free or has expired. */
  describe(entry: number): string | null {
    const copy = new EntryCopy();
    copy.take(this, entry);
    const row = listConnection(copy, 0, this.#tick, new EntryAddress(this.#servers));
    if (row === null) return null;
    const client = endText(row.client, row.clientPort);
    const virtual = endText(row.virtual, row.virtualPort);
    const server = copy.entries[AT.realServer]! & CONNECTION_SERVER_BITS;
    const isTemplate = (copy.entries[AT.state]! & CONNECTION_TEMPLATE) !== 0;
    const how = isTemplate ? 'template' : this.#names.method(server);
    return (
      `${client} to ${virtual} at ${endText(row.real, row.realPort)}, ${how}, ${row.state}, ` +
      `${row.ageSeconds} s old, expires in ${row.expiresSeconds} s`
    );
  }

  /** What became of every entry that the packet touched. */
  get changes(): readonly ConnectionChange[] {
    return [...this.#before]
      .map(([entry, before]) => ({ before, after: this.describe(entry) }))
      .filter(({ before, after }) => before !== after);
  }
}
