/**
 * Traffic of every kind, made in memory without allocating: clients that open, use and close
 * connections, what is malformed, misdirected or beyond a limit. Deterministic for a seed. Frames
 * are written into free chunks and end there; the servers' side is exerciseServer.ts.
 */
import { fold, halves, sumBytes } from '../net/checksum';
import { setEthernetType, TYPE_IPV4 } from '../net/ethernet';
import { FRAGMENT_BITS, PROTOCOL_TCP, PROTOCOL_UDP, writeIpv4 } from '../net/ipv4';
import { TCP_ACK, TCP_RST, TCP_SYN } from '../net/tcp';
import { RX_WORDS, TX_WORDS } from '../port/port';
import type { Umem } from '../port/umem';
import type { PacketSocket } from '../port/xdpPort';
import { CONTROL_STOP } from './contract';
import { Damage, patchIp, Random } from './exerciseDamage';
import { Pending } from './exerciseErrors';
import { type Repeated, VIRTUAL_ADDRESS } from './exerciseFrames';

const CLIENTS = 0x0a010000; // 10.1.0.0/16
/** Services by port; what is special about their real servers, see exercise.ts. */
export const TCP_PORT = 80;
export const UDP_PORT = 53;
export const FIRST_ODD_PORT = 1000;
export const ODD_SERVICES = 7;
export const FIRST_SCHEDULER_PORT = 2000;

const SESSIONS = 64;
/** Ports of repeated frames that have another each time. */
const FIRST_PORT = 8192;
const PORTS_MASK = 0x3fff;
/** What a client sends in a session: opens, uses, closes; every eighth session is reset. */
const SESSION = Int32Array.of(TCP_SYN, TCP_ACK, TCP_ACK, 0x18, TCP_ACK, 0x11, TCP_ACK, TCP_ACK);
const RESET_EVERY = 8;
const RESET_AT = 4;
/** Of the frames that come back so many-th is answered with an error. */
const REFUSED_EVERY = 16;
const SMALL = 18;
const TOO_LONG = 1540;
const DONT_FRAGMENT = 0x4000;
/** 1,480 bytes into its packet, with no more to come. */
const LAST_FRAGMENT = 185;

/** Offset of the IPv4 header in a frame; its options are never used but by one kind of frame. */
const IP = 14;
const TRANSPORT = 34;

/** The clients' side: every burst is new traffic; what comes back ends here. */
export class ClientSocket implements PacketSocket {
  /** Called for each frame made: a test allocates here to see that it is noticed. */
  disturb: (() => void) | null = null;
  /** Not 0: all frames go to this port. */
  flood = 0;
  /** Bursts are full, of datagrams that have to be cut. */
  isLong = false;
  /** Bursts are full, of fragments whose first one never comes. */
  isHeadless = false;
  private readonly umem: Umem;
  private readonly view: DataView;
  private readonly rx: Int32Array;
  private readonly tx: Int32Array;
  private readonly random: Random;
  readonly damage: Damage;
  private readonly schedulers: number;
  /** Frames that are sent again and again, in turn. */
  private readonly frames: readonly Repeated[];
  /** Of the loop, which is to end with the round in which it asks. */
  private readonly control: Int32Array;
  private readonly pending = new Pending();
  private readonly flows = new Int32Array(SESSIONS);
  private readonly steps = new Int32Array(SESSIONS);
  private nextFlow = 0;
  private odd = 0;
  private nextFrame = 0;
  private came = 0;

  constructor(
    umem: Umem,
    tx: Int32Array,
    seed: number,
    schedulers: number,
    frames: readonly Repeated[],
    control: Int32Array,
  ) {
    this.control = control;
    this.frames = frames;
    this.umem = umem;
    this.view = umem.view;
    this.rx = umem.rx;
    this.tx = tx;
    this.random = new Random(seed);
    this.damage = new Damage(umem.view, seed);
    this.schedulers = schedulers;
    for (let i = 0; i < SESSIONS; i++) this.flows[i] = this.nextFlow++;
  }

  rxBurst(max: number): number {
    this.control[CONTROL_STOP] = 1;
    const wanted = this.isLong || this.isHeadless ? max : this.random.next(63);
    let count = this.pending.take(this.rx, max);
    while (count < wanted && count < max) {
      const at = this.umem.take();
      if (at < 0) break;
      this.rx[count * RX_WORDS] = at;
      this.rx[count * RX_WORDS + 1] = this.make(at);
      count++;
      if (this.disturb !== null) this.disturb();
    }
    if (this.flood === 0) for (let i = 0; i < count; i++) this.damage.perhaps(this.rx, i);
    return count;
  }

  txBurst(count: number): number {
    for (let i = 0; i < count; i++) {
      const at = this.tx[i * TX_WORDS]!;
      this.came = (this.came + 1) & 0xffff;
      const refuses = this.came % REFUSED_EVERY === 0;
      const length = this.tx[i * TX_WORDS + 1]!;
      if (!refuses || !this.pending.addError(this.view, at, length, this.came >>> 4)) {
        this.umem.release(at);
      }
    }
    return count;
  }

  statistics(): void {}
  levels(): void {}
  close(): void {}

  /** Writes a frame, returns its length. */
  private make(at: number): number {
    if (this.isLong) return this.datagram(at, UDP_PORT, TOO_LONG);
    if (this.isHeadless) return this.headless(at);
    if (this.flood !== 0) return this.datagram(at, this.flood, SMALL);
    const kind = this.random.next(63);
    if (kind < 28) return this.session(at);
    if (kind < 44) return this.repeated(at);
    if (kind < 52) return this.datagram(at, UDP_PORT, SMALL);
    if (kind < 56) {
      this.odd++;
      return this.datagram(at, FIRST_SCHEDULER_PORT + (this.odd % this.schedulers), SMALL);
    }
    this.odd++;
    return this.oddFrame(at, this.odd % ODD_KINDS);
  }

  private repeated(at: number): number {
    const frame = this.frames[this.nextFrame]!;
    this.nextFrame = (this.nextFrame + 1) % this.frames.length;
    this.umem.bytes.set(frame.bytes, at);
    if (frame.portAt !== 0) {
      this.view.setUint16(at + frame.portAt, FIRST_PORT + this.random.next(PORTS_MASK));
    }
    return frame.bytes.length;
  }

  private session(at: number): number {
    const session = this.random.next(SESSIONS - 1);
    const step = this.steps[session]!;
    const flow = this.flows[session]!;
    const isReset = flow % RESET_EVERY === 0 && step === RESET_AT;
    const flags = isReset ? TCP_RST : SESSION[step]!;
    if (isReset || step === SESSION.length - 1) {
      this.steps[session] = 0;
      // Some begin anew with the addresses of a connection that is over.
      if (this.random.next(3) !== 0) this.flows[session] = this.nextFlow++ & 0xffff;
    } else {
      this.steps[session] = step + 1;
    }
    return this.tcp(at, CLIENTS + 2 + (flow & 0xff), 10000 + (flow >>> 8), TCP_PORT, flags);
  }

  private datagram(at: number, port: number, payload: number): number {
    const client = CLIENTS + 2 + this.random.next(31);
    return this.udp(at, client, 20000 + this.random.next(31), port, payload, 64, 0);
  }

  private headless(at: number): number {
    const client = CLIENTS + 2 + this.random.next(31);
    return this.udp(at, client, 0, 0, SMALL, 64, LAST_FRAGMENT);
  }

  private tcp(at: number, client: number, clientPort: number, port: number, flags: number): number {
    const view = this.view;
    const length = 20 + this.random.next(7);
    writeIp(view, at, PROTOCOL_TCP, client, 20 + length, 64, 0);
    view.setInt32(at + TRANSPORT, (clientPort << 16) | port);
    view.setInt32(at + TRANSPORT + 4, 1);
    view.setInt32(at + TRANSPORT + 8, 1);
    view.setUint16(at + TRANSPORT + 12, 0x5000 | flags);
    view.setInt32(at + TRANSPORT + 14, 0);
    view.setUint16(at + TRANSPORT + 18, 0);
    finishTransport(view, at, PROTOCOL_TCP, client, length, 16);
    return IP + 20 + length;
  }

  private udp(
    at: number,
    client: number,
    clientPort: number,
    port: number,
    payload: number,
    ttl: number,
    fragment: number,
  ): number {
    const view = this.view;
    const length = 8 + payload;
    writeIp(view, at, PROTOCOL_UDP, client, 20 + length, ttl, fragment);
    view.setInt32(at + TRANSPORT, (clientPort << 16) | port);
    view.setInt32(at + TRANSPORT + 4, length << 16);
    finishTransport(view, at, PROTOCOL_UDP, client, length, 6);
    return IP + 20 + length;
  }

  /** What is wrong with it, by number: see ODD. */
  private oddFrame(at: number, kind: number): number {
    const view = this.view;
    const client = CLIENTS + 2 + this.random.next(31);
    if (kind < FIRST_MADE) {
      return this.datagram(at, FIRST_ODD_PORT + (kind % ODD_SERVICES), SMALL);
    }
    switch (kind) {
      case ODD.noService:
        return this.udp(at, client, 30000, 20000 + this.random.next(0x1fff), SMALL, 64, 0);
      case ODD.noConnection:
        return this.tcp(at, client, 30001, TCP_PORT, TCP_ACK);
      case ODD.resetOnly:
        return this.tcp(at, client, 30002, TCP_PORT, TCP_RST | TCP_SYN);
      case ODD.noFlags:
        return this.tcp(at, client, 10000, TCP_PORT, 0);
      case ODD.ttl:
        return this.udp(at, client, 30003, UDP_PORT, SMALL, 1, 0);
      case ODD.tooLong:
        return this.udp(at, client, 30004, UDP_PORT, TOO_LONG, 64, 0);
      case ODD.tooLongAlone:
        return this.udp(at, client, 30005, UDP_PORT, TOO_LONG, 64, DONT_FRAGMENT);
      case ODD.noIcmpTo:
        return this.udp(at, 0x7f000001, 30006, UDP_PORT, SMALL, 1, 0);
      case ODD.icmpNowhere:
        return this.udp(at, 0x0c000001, 30007, UDP_PORT, SMALL, 1, 0);
    }
    const length = this.datagram(at, kind === ODD.unfinishedHost ? 7 : UDP_PORT, SMALL);
    return spoil(view, at, length, kind);
  }
}

const FIRST_MADE = ODD_SERVICES;
/** Kinds of frames that do not simply go through; below FIRST_MADE: to an odd service. */
const ODD = {
  noService: FIRST_MADE,
  noConnection: FIRST_MADE + 1,
  resetOnly: FIRST_MADE + 2,
  noFlags: FIRST_MADE + 3,
  ttl: FIRST_MADE + 4,
  tooLong: FIRST_MADE + 5,
  tooLongAlone: FIRST_MADE + 6,
  noIcmpTo: FIRST_MADE + 7,
  icmpNowhere: FIRST_MADE + 8,
  unfinished: FIRST_MADE + 9,
  unfinishedHost: FIRST_MADE + 10,
  noChecksum: FIRST_MADE + 11,
  zeroChecksum: FIRST_MADE + 12,
  tiny: FIRST_MADE + 13,
  otherType: FIRST_MADE + 14,
  shortIp: FIRST_MADE + 15,
  version: FIRST_MADE + 16,
  headerLength: FIRST_MADE + 17,
  totalLength: FIRST_MADE + 18,
  headerChecksum: FIRST_MADE + 19,
  fragment: FIRST_MADE + 20,
  icmp: FIRST_MADE + 21,
  shortTcp: FIRST_MADE + 22,
  tcpOffset: FIRST_MADE + 23,
  shortUdp: FIRST_MADE + 24,
  udpLength: FIRST_MADE + 25,
  options: FIRST_MADE + 26,
} as const;
const ODD_KINDS = FIRST_MADE + 27;

/** Spoils a good datagram. Returns the frame's length. */
function spoil(view: DataView, at: number, length: number, kind: number): number {
  const total = length - IP;
  switch (kind) {
    case ODD.unfinished:
    case ODD.unfinishedHost:
      view.setUint16(at + TRANSPORT + 6, pseudo(view, at, total - 20));
      return length;
    case ODD.noChecksum:
      view.setUint16(at + TRANSPORT + 6, 0);
      return length;
    case ODD.zeroChecksum:
      view.setUint16(at + TRANSPORT + 6, 0xffff);
      return length;
    case ODD.tiny:
      return 10;
    case ODD.otherType:
      setEthernetType(view, at, 0x0806);
      return length;
    case ODD.shortIp:
      return 30;
    case ODD.version:
      return patchIp(view, at, 0, 0x65, length);
    case ODD.headerLength:
      return patchIp(view, at, 0, 0x44, length);
    case ODD.totalLength:
      return length - 1;
    case ODD.headerChecksum:
      view.setUint16(at + IP + 10, view.getUint16(at + IP + 10) ^ 1);
      return length;
    case ODD.fragment:
      return patchIp(view, at, 6, (FRAGMENT_BITS >> 8) & 0x20, length);
    case ODD.icmp:
      return patchIp(view, at, 9, 1, length);
    case ODD.shortTcp:
      view.setUint16(at + IP + 2, 36);
      return patchIp(view, at, 9, PROTOCOL_TCP, length);
    case ODD.tcpOffset:
      view.setUint8(at + TRANSPORT + 12, 0x40);
      return patchIp(view, at, 9, PROTOCOL_TCP, length);
    case ODD.shortUdp:
      view.setUint16(at + IP + 2, 26);
      return patchIp(view, at, 0, 0x45, length);
    case ODD.udpLength:
      view.setUint16(at + TRANSPORT + 4, 4);
      return length;
    default:
      // Four bytes of options: what was the transport header's begin counts as such.
      return patchIp(view, at, 0, 0x46, length);
  }
}

function pseudo(view: DataView, at: number, lengthBytes: number): number {
  return fold(
    halves(view.getInt32(at + IP + 12)) +
      halves(view.getInt32(at + IP + 16)) +
      view.getUint8(at + IP + 9) +
      lengthBytes,
  );
}

function writeIp(
  view: DataView,
  at: number,
  protocol: number,
  client: number,
  total: number,
  ttl: number,
  fragment: number,
): void {
  setEthernetType(view, at, TYPE_IPV4);
  writeIpv4(view, at + IP, 0, total, 1, protocol, ttl, client, VIRTUAL_ADDRESS);
  if (fragment === 0) return;
  view.setUint16(at + IP + 6, fragment);
  patchIp(view, at, 0, 0x45, 0);
}

/** Sums the header and the payload, which is whatever the chunk held. */
function finishTransport(
  view: DataView,
  at: number,
  protocol: number,
  client: number,
  lengthBytes: number,
  offset: number,
): void {
  const transport = at + TRANSPORT;
  view.setUint16(transport + offset, 0);
  const sum =
    halves(client) +
    halves(VIRTUAL_ADDRESS) +
    protocol +
    lengthBytes +
    sumBytes(view, transport, lengthBytes);
  const checksum = ~fold(sum) & 0xffff;
  view.setUint16(transport + offset, checksum === 0 ? 0xffff : checksum);
}
