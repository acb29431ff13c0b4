/**
 * Connections and persistence templates as tools are shown them, read from the shared table while
 * workers change it. Templates are listed with the client's port 0; of a service by mark the
 * virtual address is the mark: 0.0.0.7, or 0:7:: in IPv6, as IPVS lists them.
 */
import { formatIpv4 } from '../net/address';
import { formatIpv6 } from '../net/formatIpv6';
import {
  CONNECTION,
  CONNECTION_SERVER_BITS,
  CONNECTION_TEMPLATE,
  ENTRY_SHIFT,
  EXTENSION,
  kindFamily,
  kindProtocol,
  TEMPLATE_ASSURED,
  TEMPLATE_OF_MARK,
  TEMPLATE_OF_MARK6,
} from '../table/connection';
import type { RealServerTable } from '../table/realServer';
import { TICKS_PER_SECOND } from '../table/setting';
import { NONE, STATE_NAMES } from '../table/state';
import type { AddressFamily, ConnectionListing } from './protocol';

const AT = CONNECTION.at;
const ENTRY_WORDS = 1 << ENTRY_SHIFT;
const NAMES: Readonly<Record<number, ConnectionListing['protocol']>> = {
  0: 'IP',
  6: 'TCP',
  17: 'UDP',
  132: 'SCTP',
};

/** States as they are listed: those of connections, then what a template says beside NONE. */
export const LISTED_STATES: readonly string[] = [...new Set(STATE_NAMES), 'ASSURED'];
const ASSURED = LISTED_STATES.length - 1;
/** By a state's number: some of SCTP's have names that TCP's have too. */
const PLACES = STATE_NAMES.map((name) => LISTED_STATES.indexOf(name));

/** Place in LISTED_STATES by an entry's state word. */
export function listedState(word: number): number {
  if ((word & CONNECTION_TEMPLATE) === 0) return PLACES[word & 0xff] ?? NONE;
  return (word & TEMPLATE_ASSURED) === 0 ? NONE : ASSURED;
}

/** The table's words, or a copy of one entry's, which then is entry 0. */
export interface EntryWords {
  readonly entries: Int32Array;
  readonly extension: Int32Array;
  readonly born: Int32Array;
}

/** A copy of one entry, which holds still while it is judged and written. */
export class EntryCopy implements EntryWords {
  readonly entries = new Int32Array(ENTRY_WORDS);
  readonly extension = new Int32Array(ENTRY_WORDS);
  readonly born = new Int32Array(1);

  take(table: EntryWords, entry: number): void {
    const at = entry << ENTRY_SHIFT;
    this.entries.set(table.entries.subarray(at, at + ENTRY_WORDS));
    this.extension.set(table.extension.subarray(at, at + ENTRY_WORDS));
    this.born[0] = table.born[entry]!;
  }
}

/** What an entry is, 0: nothing that is listed. */
export function listedKind(words: EntryWords, entry: number): number {
  const kind = words.entries[(entry << ENTRY_SHIFT) + AT.identity]! & 0xff;
  const isListed = kindProtocol(kind) !== 0 || kind === TEMPLATE_OF_MARK || isMark6(kind);
  return isListed ? kind : 0;
}

function isMark6(kind: number): boolean {
  return kind === TEMPLATE_OF_MARK6;
}

/** An address of an entry: its family, and its words, of which IPv4 uses the first. */
export class EntryAddress {
  family: AddressFamily = 4;
  readonly words = new Int32Array(4);
  readonly #servers: RealServerTable | null;

  /** `servers`: has the address of a server that is of another family than its connection. */
  constructor(servers: RealServerTable | null) {
    this.#servers = servers;
  }

  read(from: EntryWords, entry: number, role: 'client' | 'virtual' | 'real'): void {
    const { words } = this;
    const at = entry << ENTRY_SHIFT;
    const kind = from.entries[at + AT.identity]! & 0xff;
    this.family = kindFamily(kind) === 6 ? 6 : 4;
    const last = from.entries[at + AT[role]]!;
    if (this.family === 4) {
      words.fill(0);
      words[0] = last;
    } else {
      const first = at + EXTENSION.at[role];
      words.set(from.extension.subarray(first, first + 3));
      words[3] = last;
      if (role === 'virtual' && isMark6(kind)) words.set([words[0]! | last, 0, 0, 0]);
    }
    if (role === 'real' && words.every((word) => word === 0)) this.#readServer(from, at);
  }

  #readServer(from: EntryWords, at: number): void {
    if (this.#servers === null) return;
    const slot = from.entries[at + AT.realServer]! & CONNECTION_SERVER_BITS;
    this.family = this.#servers.family(slot) === 6 ? 6 : 4;
    for (let word = 0; word < 4; word++) {
      this.words[word] = this.#servers.addressWord(slot, word);
    }
  }

  get text(): string {
    const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = this.words;
    return this.family === 4 ? formatIpv4(word0) : formatIpv6(word0, word1, word2, word3);
  }
}

/** Whole seconds since an entry was made. */
export function ageSeconds(words: EntryWords, entry: number, tick: number): number {
  return Math.max(0, Math.floor(((tick - words.born[entry]!) | 0) / TICKS_PER_SECOND));
}

/** An entry as a listing shows it; null: free, or expired at `tick`. `address`: to work with. */
export function listConnection(
  words: EntryWords,
  entry: number,
  tick: number,
  address: EntryAddress,
): ConnectionListing | null {
  const { entries } = words;
  const at = entry << ENTRY_SHIFT;
  const kind = listedKind(words, entry);
  const left = (entries[at + AT.expiresAt]! - tick) | 0;
  if (kind === 0 || left <= 0) return null;
  const textOf = (role: 'client' | 'virtual' | 'real'): string => {
    address.read(words, entry, role);
    return address.text;
  };
  const ports = entries[at + AT.clientPorts]!;
  return {
    protocol: NAMES[kindProtocol(kind)]!,
    family: kindFamily(kind) === 6 ? 6 : 4,
    expiresSeconds: Math.floor(left / TICKS_PER_SECOND),
    ageSeconds: ageSeconds(words, entry, tick),
    state: LISTED_STATES[listedState(entries[at + AT.state]!)] ?? 'ERR!',
    client: textOf('client'),
    clientPort: ports >>> 16,
    virtual: textOf('virtual'),
    virtualPort: ports & 0xffff,
    real: textOf('real'),
    realPort: entries[at + AT.replyPorts]! >>> 16,
  };
}

/** Connections that have not expired at `tick`, in the table's order. */
export function listConnections(
  table: EntryWords & { readonly usedEnd: number },
  tick: number,
  servers: RealServerTable | null = null,
): ConnectionListing[] {
  const list: ConnectionListing[] = [];
  const copy = new EntryCopy();
  const address = new EntryAddress(servers);
  for (let entry = 1; entry < table.usedEnd; entry++) {
    copy.take(table, entry);
    const connection = listConnection(copy, 0, tick, address);
    if (connection !== null) list.push(connection);
  }
  return list;
}
