/**
 * What a capture does not say of the network around the director, learned from it or made up,
 * always the same for the same input:
 *
 *   interface   of a frame: its name in a pcapng file, if the config has that name. Else frames
 *               from a real server come in by the config's last interface, others by its first.
 *   own MAC     of an interface: the destination of the first frame that is to a service, to a
 *               local address or from a real server there; the source of one that was seen
 *               elsewhere with a higher TTL; else 02:00:00:00:01:SLOT. A frame to another MAC is
 *               not the director's to receive, nor is one that it sent itself.
 *   neighbours  a source address is where its frames come from, with the MAC that they come with.
 *               Real servers that never speak are on the last interface, everybody else on the
 *               first; their MAC is 02:00 and four bytes of the address (IPv6: its words folded).
 *   own address 198.18.0.SLOT+1 and fd00:18::SLOT+1, or the first FULLNAT local address; services
 *               and local addresses are the director's own, and with services by mark whatever
 *               packets go to that never speaks and is no real server.
 *
 * MTU 1500 on every interface.
 */

import { addressWords } from '../../net/address';
import { ETHERNET_BYTES } from '../../net/ethernet';
import { IPV4 } from '../../net/ipv4';
import { IPV6 } from '../../net/ipv6';
import { type Address6, NO_ADDRESS6 } from '../../table/address6';
import type { NextHopTable } from '../../table/nextHop';
import { ROUTE_LOCAL, ROUTE_UNICAST, type Route, type Route6 } from '../../table/route';
import type { Config } from '../config';
import { type IpHeader, ipOf } from '../explain/frameText';
import type { Capture, CapturedPacket } from './captureFile';

export const REPLAY_MTU = 1500;
const MAC_BYTES = 6;
const CONTENT_BYTES = 96;
const { ttl: TTL_AT, checksum: CHECKSUM_AT } = IPV4.at;
const { hopLimit: HOP_LIMIT_AT } = IPV6.at;
const OWN_MAC = [2, 0, 0, 0, 1] as const;

interface Neighbour {
  readonly slot: number;
  readonly mac: Uint8Array;
  /** Its MAC is made up: it was never heard of. */
  readonly isInvented: boolean;
}

export class Surroundings {
  /** Of each interface. */
  readonly macs: readonly Uint8Array[];
  readonly neighbours = new Map<string, Neighbour>();
  readonly #names: readonly string[];
  readonly #capture: Capture;
  readonly #servers = new Set<string>();
  readonly #own = new Set<string>();
  readonly #local: readonly string[];
  readonly #hasMarks: boolean;

  constructor(config: Config, capture: Capture) {
    this.#names = config.interfaces.map(({ name }) => name);
    this.#capture = capture;
    const { services } = config;
    for (const { service, servers, localAddresses = [] } of services) {
      if (service.fwmark === 0) this.#own.add(service.address);
      for (const { server } of servers) this.#servers.add(server.address);
      for (const address of localAddresses) this.#own.add(address);
    }
    this.#hasMarks = services.some(({ service }) => service.fwmark !== 0);
    this.#local = services.flatMap(({ localAddresses = [] }) => localAddresses);
    this.macs = this.#learnMacs();
    this.#learnNeighbours();
  }

  get #last(): number {
    return this.#names.length - 1;
  }

  /** Slot of the interface by which a frame comes in. */
  slotOf(packet: CapturedPacket): number {
    const { name } = this.#capture.interfaces[packet.interface]!;
    const slot = this.#names.indexOf(name);
    if (slot >= 0) return slot;
    return this.#servers.has(ipOf(packet.frame)?.source ?? '') ? this.#last : 0;
  }

  /** Does the director receive it? null: yes; else why not. */
  refusal({ frame }: CapturedPacket, slot: number): string | null {
    const from = frame.subarray(MAC_BYTES, 2 * MAC_BYTES);
    if (frame.length < ETHERNET_BYTES) return 'no_ethernet';
    if (this.macs.some((mac) => isSame(mac, from))) return 'sent_by_director';
    const isGroup = (frame[0]! & 1) === 1;
    return isGroup || isSame(frame, this.macs[slot]!) ? null : 'other_mac';
  }

  #learnMacs(): readonly Uint8Array[] {
    const found = new Map<number, Uint8Array>();
    const highest = this.#highestHops();
    for (const packet of this.#capture.packets) {
      const { frame } = packet;
      const header = ipOf(frame);
      if (header === null || (frame[0]! & 1) === 1) continue;
      const slot = this.slotOf(packet);
      const isOurs = this.#own.has(header.destination) || this.#servers.has(header.source);
      // What has a service's address as its source was sent by the director, or by a DR server.
      if (!isOurs || this.#own.has(header.source) || found.has(slot)) continue;
      const wasForwarded = highest.get(contentOf(frame, header))! > header.hops;
      const from = wasForwarded ? MAC_BYTES : 0;
      found.set(slot, frame.subarray(from, from + MAC_BYTES));
    }
    return this.#names.map((_name, slot) => found.get(slot) ?? Uint8Array.of(...OWN_MAC, slot));
  }

  /** By the packets' content: the highest TTL or hop limit that it is seen with. */
  #highestHops(): ReadonlyMap<string, number> {
    const highest = new Map<string, number>();
    for (const { frame } of this.#capture.packets) {
      const header = ipOf(frame);
      if (header === null) continue;
      const content = contentOf(frame, header);
      highest.set(content, Math.max(header.hops, highest.get(content) ?? 0));
    }
    return highest;
  }

  #learnNeighbours(): void {
    for (const packet of this.#capture.packets) {
      const header = ipOf(packet.frame);
      const slot = this.slotOf(packet);
      if (header === null || this.refusal(packet, slot) !== null) continue;
      const { source } = header;
      if (this.#own.has(source) || this.neighbours.has(source)) continue;
      const mac = packet.frame.subarray(MAC_BYTES, 2 * MAC_BYTES);
      this.neighbours.set(source, { slot, mac, isInvented: false });
    }
    for (const address of this.#servers) this.#invent(address, this.#last);
    for (const packet of this.#capture.packets) {
      const destination = ipOf(packet.frame)?.destination;
      if (destination === undefined || this.neighbours.has(destination)) continue;
      if (this.#hasMarks) this.#own.add(destination);
      else this.#invent(destination, 0);
    }
  }

  #invent(address: string, slot: number): void {
    if (this.neighbours.has(address) || this.#own.has(address)) return;
    const word = addressWords(address).reduce((mixed, each) => mixed ^ each, 0);
    const mac = Uint8Array.of(2, 0, word >>> 24, word >>> 16, word >>> 8, word);
    this.neighbours.set(address, { slot, mac, isInvented: true });
  }

  /** Links, routes and neighbours as the workers read them. */
  write(nextHops: NextHopTable, tick: number): void {
    this.macs.forEach((mac, slot) => {
      const own4 = this.#local.find((address) => !address.includes(':'));
      const own6 = this.#local.find((address) => address.includes(':'));
      nextHops.links.set(slot, {
        interfaceIndex: slot + 1,
        ...macWords(mac),
        mtu: REPLAY_MTU,
        up: true,
        address: addressWords(own4 ?? `198.18.0.${slot + 1}`)[0]!,
        address6: words6(own6 ?? `fd00:18::${(slot + 1).toString(16)}`),
      });
    });
    this.#writeRoutes(nextHops);
    for (const [address, { slot, mac }] of this.neighbours) {
      const { macHigh, macLow } = macWords(mac);
      const host = address.includes(':') ? words6(address) : addressWords(address)[0]!;
      if (nextHops.putResolved(slot, host, macHigh, macLow, tick) === 0) {
        throw new RangeError(`the capture has more hosts than ${nextHops.neighbours.slotsMax}`);
      }
    }
  }

  #writeRoutes(nextHops: NextHopTable): void {
    const hosts = [...this.neighbours].map(([address, { slot }]) => ({ address, slot }));
    const own = [...this.#own].map((address) => ({ address, slot: -1 }));
    const is6 = ({ address }: { address: string }): boolean => address.includes(':');
    const is4 = (host: { address: string }): boolean => !is6(host);
    const fits = nextHops.replaceRoutes([
      hosts.filter(is4).map(({ address, slot }) => hostRoute(address, slot)),
      own.filter(is4).map(({ address }) => ({ ...hostRoute(address, -1), kind: ROUTE_LOCAL })),
    ]);
    const fits6 = nextHops.replaceRoutes6([
      hosts.filter(is6).map(({ address, slot }) => hostRoute6(address, slot)),
      own.filter(is6).map(({ address }) => ({ ...hostRoute6(address, -1), kind: ROUTE_LOCAL })),
    ]);
    if (!fits || !fits6) throw new RangeError('the capture has more hosts than routes fit');
  }
}

/** What a router does not change of a packet, as far as it has bytes that tell it from others. */
function contentOf(frame: Uint8Array, { family, at }: IpHeader): string {
  const bytes = Uint8Array.from(frame.subarray(at, at + CONTENT_BYTES));
  if (family === 6) bytes[HOP_LIMIT_AT] = 0;
  else {
    bytes[TTL_AT] = 0;
    bytes.fill(0, CHECKSUM_AT, CHECKSUM_AT + 2);
  }
  return Buffer.from(bytes).toString('latin1');
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  for (let at = 0; at < MAC_BYTES; at++) if (one[at] !== other[at]) return false;
  return true;
}

function macWords(mac: Uint8Array): { macHigh: number; macLow: number } {
  const view = new DataView(mac.buffer, mac.byteOffset, MAC_BYTES);
  return { macHigh: view.getInt32(0), macLow: view.getUint16(4) };
}

function words6(text: string): Address6 {
  const [word0, word1, word2, word3] = addressWords(text);
  return [word0!, word1!, word2!, word3!];
}

function hostRoute(address: string, interfaceSlot: number): Route {
  return {
    destination: addressWords(address)[0]!,
    prefixLength: 32,
    kind: ROUTE_UNICAST,
    interfaceSlot,
    gateway: 0,
    preferredSource: 0,
    mtu: 0,
  };
}

function hostRoute6(address: string, interfaceSlot: number): Route6 {
  return {
    destination: words6(address),
    prefixLength: 128,
    kind: ROUTE_UNICAST,
    interfaceSlot,
    gateway: NO_ADDRESS6,
    preferredSource: NO_ADDRESS6,
    mtu: 0,
  };
}
