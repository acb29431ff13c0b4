/**
 * The order of listings. IPVS's tool compares 32-bit numbers by a subtraction that it keeps in a
 * signed int: a difference of 2^31 or more counts the other way round (10.0.0.1 comes after
 * 192.168.0.1). Such a comparison is no order, so the result depends on the algorithm: the C
 * library's merge sort, which this follows.
 */
import type { ServerListing, ServiceListing } from '../control/protocol';
import { parseIpv4, parseIpv6 } from './addressText';

type Compare<Item> = (left: Item, right: Item) => number;

const PROTOCOL_NUMBER = { tcp: 6, udp: 17, sctp: 132 } as const;

/** Top-down merge sort, halves rounded down, the left item first when equal. */
export function mergeSort<Item>(items: readonly Item[], compare: Compare<Item>): readonly Item[] {
  if (items.length < 2) return items;
  const middle = items.length >>> 1;
  const left = mergeSort(items.slice(0, middle), compare);
  const right = mergeSort(items.slice(middle), compare);
  const merged: Item[] = [];
  let leftAt = 0;
  let rightAt = 0;
  while (leftAt < left.length && rightAt < right.length) {
    const leftItem = left[leftAt] as Item;
    const rightItem = right[rightAt] as Item;
    if (compare(leftItem, rightItem) <= 0) {
      merged.push(leftItem);
      leftAt += 1;
    } else {
      merged.push(rightItem);
      rightAt += 1;
    }
  }
  return merged.concat(left.slice(leftAt), right.slice(rightAt));
}

/** 32-bit words of an address, unsigned values; [] for text that is none. */
function addressWords(address: string): readonly number[] {
  const ipv4 = parseIpv4(address);
  if (ipv4 !== null) return [ipv4];
  const groups = parseIpv6(address) ?? [];
  const words: number[] = [];
  for (let at = 0; at < groups.length; at += 2) {
    words.push((groups[at] ?? 0) * 65536 + (groups[at + 1] ?? 0));
  }
  return words;
}

interface Sortable<Item> {
  readonly item: Item;
  /** Compared one after the other, each by a signed 32-bit difference. */
  readonly keys: readonly number[];
}

function compareKeys<Item>(left: Sortable<Item>, right: Sortable<Item>): number {
  for (const [index, key] of left.keys.entries()) {
    const difference = (key - (right.keys[index] ?? 0)) | 0;
    if (difference !== 0) return difference;
  }
  return 0;
}

function sortBy<Item>(items: readonly Item[], keysOf: (item: Item) => readonly number[]): Item[] {
  const sortable = items.map((item) => ({ item, keys: keysOf(item) }));
  return mergeSort(sortable, compareKeys).map(({ item }) => item);
}

/** By mark, family, protocol, address, port. */
export function sortServices(services: readonly ServiceListing[]): readonly ServiceListing[] {
  return sortBy(services, (service) => [
    service.fwmark,
    service.family,
    PROTOCOL_NUMBER[service.protocol],
    ...addressWords(service.address),
    service.port,
  ]);
}

interface SortableServer {
  readonly server: ServerListing;
  /** Four words, IPv4 in the first. */
  readonly address: readonly number[];
}

/** The left one's family says how many words count: where a tunnel mixes families this shows. */
function compareServers(left: SortableServer, right: SortableServer): number {
  const words = left.server.family === 6 ? 4 : 1;
  for (let at = 0; at < words; at++) {
    const difference = ((left.address[at] ?? 0) - (right.address[at] ?? 0)) | 0;
    if (difference !== 0) return difference;
  }
  return left.server.port - right.server.port;
}

/** By address, port. */
export function sortServers(servers: readonly ServerListing[]): readonly ServerListing[] {
  const sortable = servers.map((server) => ({ server, address: addressWords(server.address) }));
  return mergeSort(sortable, compareServers).map(({ server }) => server);
}
