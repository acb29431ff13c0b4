/**
 * What the XDP program would do with a frame: the order of its questions (native/xsk-napi/bpf:
 * redirect.bpf.c, packet.h, mark.h), asked of the maps that it reads. A test runs the program
 * itself on random frames beside this.
 *
 * Keys and values as maps.h declares them: addresses and ports as on the wire, IPv4 in the first
 * word and the rest 0; other words in the machine's order.
 */

import { XdpMarks } from './xdpMarks';
import { readPacket, readPorts, type XdpPacket } from './xdpPacket';

/** The value of a key of one of the program's maps; null: there is none. */
export type MapLookup = (map: string, key: Uint8Array) => Uint8Array | null;

/** One of XDP_VERDICTS. `pass_no_socket` is not foreseen: every queue is thought to have one. */
export interface XdpDecision {
  readonly verdict: string;
  /** What was asked and answered, in order. */
  readonly steps: readonly string[];
}

const [IPV4_TYPE, IPV6_TYPE] = [0x0800, 0x86dd];
const ETHERNET_BYTES = 14;
const [WILDCARD_SERVICES, WILDCARD_SERVERS, ICMP_ERRORS, FRAGMENTS] = [1, 2, 4, 8];
const ALL_FRAGMENTS = 32;
const MARK_COUNT_SHIFT = 16;
const [OWN_ADDRESS, FULLNAT_ADDRESS] = [1, 2];
const [REPLIES, TUNNEL] = [1, 2];
const [TO_SERVICE, FROM_SERVER] = [1, 2];
const FULLNAT_PORT_FIRST = 1025;
const ICMP_BYTES = 8;
const ERRORS4 = new Set([3, 4, 11]);
const ERRORS6 = new Set([1, 2, 3, 4]);
const TUNNEL_PROTOCOLS = new Set([4, 41, 47]);
const HEADER_BYTES_MIN: Readonly<Record<number, number>> = { 6: 20, 17: 8, 132: 12 };
const INTERFACE_SLOTS = 256;
const INTERFACE_PROBES = 4;

function word(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** A word of a value, in the machine's order. */
function wordOf(value: Uint8Array, at = 0): number {
  return new DataView(value.buffer, value.byteOffset).getUint32(at, true);
}

export class XdpModel {
  readonly #lookup: MapLookup;
  readonly #interfaceIndex: number;
  #steps: string[] = [];
  #flags = 0;

  /** `interfaceIndex`: the kernel's number of where frames come in. */
  constructor(lookup: MapLookup, interfaceIndex: number) {
    this.#lookup = lookup;
    this.#interfaceIndex = interfaceIndex;
  }

  decide(frame: Uint8Array): XdpDecision {
    this.#steps = [];
    const verdict = this.#ofFrame(frame);
    return { verdict, steps: this.#steps };
  }

  #ofFrame(frame: Uint8Array): string {
    if (frame.length < ETHERNET_BYTES) return 'pass_malformed';
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    const type = view.getUint16(12);
    if (type !== IPV4_TYPE && type !== IPV6_TYPE) return 'pass_not_ip';
    if (!this.#isToUs(frame)) return 'pass_other_mac';
    const settings = this.#lookup('settings', word(0));
    this.#flags = settings === null ? 0 : wordOf(settings);
    return this.#ofIp(view, type === IPV4_TYPE ? 4 : 6);
  }

  /** The interface's record, null: it is not served. */
  #interface(): Uint8Array | null {
    for (let probe = 0; probe < INTERFACE_PROBES; probe++) {
      const slot = (this.#interfaceIndex + probe) % INTERFACE_SLOTS;
      const found = this.#lookup('interfaces', word(slot));
      if (found !== null && wordOf(found) === this.#interfaceIndex) return found;
    }
    return null;
  }

  #isToUs(frame: Uint8Array): boolean {
    if ((frame[0]! & 1) === 1) return this.#say('a group frame', false);
    const found = this.#interface();
    if (found === null || (found[14]! | found[15]!) === 0) return true;
    const destination = frame.subarray(0, 6);
    if (Buffer.compare(found.subarray(8, 14), destination) === 0) return true;
    const key = new Uint8Array(12);
    key.set(word(this.#interfaceIndex));
    key.set(destination, 4);
    return this.#say("to the interface's MAC", this.#lookup('other_macs', key) !== null);
  }

  #say(question: string, answer: boolean): boolean {
    this.#steps.push(`${question}: ${answer ? 'yes' : 'no'}`);
    return answer;
  }

  #ofIp(view: DataView, family: 4 | 6): string {
    const packet = readPacket(view, ETHERNET_BYTES, family);
    if (packet === null) return 'pass_malformed';
    if (packet.end < packet.transport || packet.end > view.byteLength) return 'pass_malformed';
    if (packet.fragment !== 'none') return this.#ofFragment(packet);
    if (packet.protocol === (family === 4 ? 1 : 58)) return this.#ofIcmp(view, packet);
    const bytesMin = HEADER_BYTES_MIN[packet.protocol] ?? 0;
    if (packet.end - packet.transport < bytesMin) return 'pass_malformed';
    const withPorts = readPorts(view, packet);
    return withPorts === 'none' || withPorts === 'short'
      ? 'pass_no_match'
      : this.#ofTransport(withPorts);
  }

  #ofTransport(packet: XdpPacket): string {
    const { source, destination, sourcePort, destinationPort } = packet;
    if (this.#say('to a service', this.#isService(destination, destinationPort, packet))) {
      return 'redirect_service';
    }
    const role = this.#value('local_addresses', destination, packet.family);
    if (this.#say('to a port of a FULLNAT address', isFullnat(role, destinationPort))) {
      return 'redirect_local_address';
    }
    const kind = this.#serverKind(source, sourcePort, packet);
    if (this.#say('from a real server', (kind & REPLIES) !== 0)) {
      const isOwn = this.#say("to an address of the host's own", (role & OWN_ADDRESS) !== 0);
      return isOwn ? 'pass_own_address' : 'redirect_real_server';
    }
    return this.#markVerdict(packet) ?? 'pass_no_match';
  }

  /** null: no mark of a service, and no removed rule. */
  #markVerdict(packet: XdpPacket): string | null {
    const count = this.#flags >>> MARK_COUNT_SHIFT;
    if (count === 0) return null;
    const found = this.#interface();
    const bit = found === null ? 0 : wordOf(found, 4);
    const { mark, removed } = new XdpMarks(this.#lookup, this.#flags).apply(packet, bit);
    const families = mark === 0 ? null : this.#lookup('mark_services', word(mark));
    const isServed = families !== null && (wordOf(families) & (packet.family === 6 ? 2 : 1)) !== 0;
    this.#say(`mark ${mark >>> 0} is a service's`, isServed);
    if (isServed) return 'redirect_mark';
    return this.#say('matched by a removed mark rule', removed) ? 'redirect_removed_mark' : null;
  }

  #ofIcmp(view: DataView, packet: XdpPacket): string {
    if ((this.#flags & ICMP_ERRORS) === 0) return 'pass_no_match';
    const at = packet.transport;
    if (at + ICMP_BYTES > view.byteLength) return 'pass_malformed';
    const errors = packet.family === 4 ? ERRORS4 : ERRORS6;
    if (!this.#say('an ICMP error', errors.has(view.getUint8(at)))) return 'pass_no_match';
    const quoted = readPacket(view, at + ICMP_BYTES, packet.family);
    if (quoted === null) return 'pass_malformed';
    return this.#ofQuoted(view, quoted);
  }

  #ofQuoted(view: DataView, quoted: XdpPacket): string {
    if (quoted.fragment === 'later') return 'pass_no_match';
    if (TUNNEL_PROTOCOLS.has(quoted.protocol)) {
      const key = endpointKey(quoted.destination, 0, quoted);
      const kind = this.#lookup('real_servers', key);
      const isTunnel = kind !== null && (wordOf(kind) & TUNNEL) !== 0;
      return this.#say('about a packet of a tunnel', isTunnel)
        ? 'redirect_icmp_error'
        : 'pass_no_match';
    }
    const packet = readPorts(view, quoted);
    if (packet === 'short') return 'pass_malformed';
    if (packet === 'none') return 'pass_no_match';
    return this.#ofQuotedPorts(packet);
  }

  #ofQuotedPorts(packet: XdpPacket): string {
    const { source, destination, sourcePort, destinationPort } = packet;
    if (this.#say('about what a service sent', this.#isService(source, sourcePort, packet))) {
      return 'redirect_icmp_error';
    }
    const role = this.#value('local_addresses', source, packet.family);
    if (this.#say('about what a FULLNAT address sent', isFullnat(role, sourcePort))) {
      return 'redirect_icmp_error';
    }
    const kind = this.#serverKind(destination, destinationPort, packet);
    if ((kind & TUNNEL) !== 0) return 'redirect_icmp_error';
    if (this.#say('about what a real server was sent', (kind & REPLIES) !== 0)) {
      return (role & OWN_ADDRESS) !== 0 ? 'pass_own_address' : 'redirect_icmp_error';
    }
    const turned = {
      ...packet,
      source: destination,
      destination: source,
      sourcePort: destinationPort,
      destinationPort: sourcePort,
    };
    return this.#markVerdict(turned) === null ? 'pass_no_match' : 'redirect_icmp_error';
  }

  #ofFragment({ source, destination, family }: XdpPacket): string {
    const flags = this.#flags;
    if ((flags & FRAGMENTS) === 0) return 'pass_fragment';
    if ((flags & ALL_FRAGMENTS) !== 0) return 'redirect_fragment';
    const to = this.#value('fragment_addresses', destination, family);
    const isToService = (to & TO_SERVICE) !== 0;
    if (this.#say("a fragment to a service's address", isToService)) return 'redirect_fragment';
    const role = this.#value('local_addresses', destination, family);
    if (this.#say('to a FULLNAT address', (role & FULLNAT_ADDRESS) !== 0)) {
      return 'redirect_fragment';
    }
    const from = this.#value('fragment_addresses', source, family);
    const isFromServer = (from & FROM_SERVER) !== 0;
    if (!this.#say("from a real server's address", isFromServer)) return 'pass_fragment';
    return (role & OWN_ADDRESS) !== 0 ? 'pass_own_address' : 'redirect_fragment';
  }

  #isService(address: Uint8Array, port: number, packet: XdpPacket): boolean {
    if (this.#lookup('services', endpointKey(address, port, packet)) !== null) return true;
    if ((this.#flags & WILDCARD_SERVICES) === 0) return false;
    return this.#lookup('services', endpointKey(address, 0, packet)) !== null;
  }

  #serverKind(address: Uint8Array, port: number, packet: XdpPacket): number {
    const exact = this.#lookup('real_servers', endpointKey(address, port, packet));
    const kinds = exact === null ? 0 : wordOf(exact);
    if ((kinds & REPLIES) !== 0 || (this.#flags & WILDCARD_SERVERS) === 0) return kinds;
    const wildcard = this.#lookup('real_servers', endpointKey(address, 0, packet));
    return wildcard === null ? kinds : kinds | wordOf(wildcard);
  }

  #value(map: string, address: Uint8Array, family: number): number {
    const key = new Uint8Array(20);
    key.set(address);
    key[16] = family;
    const value = this.#lookup(map, key);
    return value === null ? 0 : wordOf(value);
  }
}

function isFullnat(role: number, port: number): boolean {
  return (role & FULLNAT_ADDRESS) !== 0 && port >= FULLNAT_PORT_FIRST;
}

/** struct endpoint_key. */
function endpointKey(address: Uint8Array, port: number, packet: XdpPacket): Uint8Array {
  const key = new Uint8Array(24);
  key.set(address);
  key[16] = port >>> 8;
  key[17] = port & 0xff;
  key[18] = packet.protocol;
  key[19] = packet.family;
  return key;
}
