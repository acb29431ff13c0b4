/**
 * What connections are sorted and counted by, as keys that are cheap to compare: one exact number
 * of an IPv4 endpoint, a state or an age; of an IPv6 endpoint a string of 16-bit characters, which
 * compares as the address does.
 */
import { formatIpv4 } from '../net/address';
import { formatIpv6 } from '../net/formatIpv6';
import { CONNECTION, ENTRY_SHIFT, kindProtocol } from '../table/connection';
import {
  ageSeconds,
  type EntryAddress,
  type EntryWords,
  LISTED_STATES,
  listedState,
} from './connectionListing';
import type { ConnectionGroup, ConnectionSortKey } from './protocol';

export type Key = number | string;

const AT = CONNECTION.at;
const PORTS = 65536;
const PROTOCOL_NAMES: readonly string[] = ['ip', 'tcp', 'udp', 'sctp'];
/** Index in PROTOCOL_NAMES by IP's number. */
const PROTOCOL_ORDER = new Uint8Array(256);
for (const [at, protocol] of [6, 17, 132].entries()) PROTOCOL_ORDER[protocol] = at + 1;

/** Ages are counted in steps: under so many seconds, and what that is called. */
const AGES: readonly (readonly [number, string])[] = [
  [1, 'under 1 s'],
  [10, '1 to 9 s'],
  [60, '10 to 59 s'],
  [600, '1 to 9 min'],
  [3600, '10 to 59 min'],
  [86400, '1 to 23 h'],
  [Number.POSITIVE_INFINITY, '1 day or more'],
];

function textOf(words: Int32Array, ...more: readonly number[]): string {
  const groups: number[] = [];
  for (const word of words) groups.push(word >>> 16, word & 0xffff);
  return String.fromCharCode(...groups, ...more);
}

export class KeyReader {
  readonly #tick: number;
  readonly #address: EntryAddress;

  constructor(tick: number, address: EntryAddress) {
    this.#tick = tick;
    this.#address = address;
  }

  sortKey(words: EntryWords, entry: number, by: ConnectionSortKey): Key {
    const at = entry << ENTRY_SHIFT;
    if (by === 'expires') return (words.entries[at + AT.expiresAt]! - this.#tick) | 0;
    if (by === 'age') return (this.#tick - words.born[entry]!) | 0;
    if (by !== 'client') return this.groupKey(words, entry, by);
    this.#address.read(words, entry, 'client');
    const port = words.entries[at + AT.clientPorts]! >>> 16;
    const { family, words: address } = this.#address;
    return family === 4 ? (address[0]! >>> 0) * PORTS + port : textOf(address, port);
  }

  groupKey(words: EntryWords, entry: number, by: ConnectionGroup): Key {
    const { entries } = words;
    const at = entry << ENTRY_SHIFT;
    switch (by) {
      case 'client':
        this.#address.read(words, entry, 'client');
        return this.#address.family === 4
          ? this.#address.words[0]! >>> 0
          : textOf(this.#address.words);
      case 'service':
        this.#address.read(words, entry, 'virtual');
        return this.#endpoint(words, at, entries[at + AT.clientPorts]! & 0xffff);
      case 'server':
        this.#address.read(words, entry, 'real');
        return this.#endpoint(words, at, entries[at + AT.replyPorts]! >>> 16);
      case 'state':
        return listedState(entries[at + AT.state]!);
      case 'age': {
        const age = ageSeconds(words, entry, this.#tick);
        return AGES.findIndex(([end]) => age < end);
      }
    }
  }

  #endpoint(words: EntryWords, at: number, port: number): Key {
    const protocol = PROTOCOL_ORDER[kindProtocol(words.entries[at + AT.identity]! & 0xff)]!;
    const { family, words: address } = this.#address;
    // 32 + 16 + 2 bits: exact in a double.
    if (family === 4) return ((address[0]! >>> 0) * PORTS + port) * 4 + protocol;
    return textOf(address, port, protocol);
  }
}

export function formatKey(key: Key, by: ConnectionGroup): string {
  if (typeof key === 'string') return formatText(key, by);
  if (by === 'client') return formatIpv4(key | 0);
  if (by === 'state') return LISTED_STATES[key] ?? 'ERR!';
  if (by === 'age') return AGES[key]![1];
  const endpoint = Math.floor(key / 4);
  const address = formatIpv4(Math.floor(endpoint / PORTS) | 0);
  return `${PROTOCOL_NAMES[key % 4]} ${address}:${endpoint % PORTS}`;
}

function formatText(key: string, by: ConnectionGroup): string {
  const word = (at: number): number => (key.charCodeAt(at) << 16) | key.charCodeAt(at + 1);
  const address = formatIpv6(word(0), word(2), word(4), word(6));
  if (by === 'client') return address;
  return `${PROTOCOL_NAMES[key.charCodeAt(9)]} [${address}]:${key.charCodeAt(8)}`;
}
