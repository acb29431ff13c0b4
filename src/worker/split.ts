/**
 * Cuts a packet into pieces that fit the MTU. The first piece stays in the packet's chunk; the
 * others get chunks of their own and a copy of their data: whatever leaves has its headers in front
 * of it. A packet leaves whole or not at all.
 *
 * A frame that arrived fits a chunk, 1,792 or 3,840 bytes, since the daemon refuses interfaces with
 * a larger MTU: nothing longer is ever cut here.
 */
import {
  blankFirstOnlyOptions,
  completeChecksum,
  FRAGMENT6_FRAME_BYTES,
  fragmentCount,
  fragmentRoom,
  writeFragmentHeader4,
  writeFragmentHeader6,
} from '../forward/split';
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4, TYPE_IPV6 } from '../net/ethernet';
import { FRAGMENT6_BYTES, fragmentOffset4, hasMore4 } from '../net/fragment';
import {
  FLAG_DONT_FRAGMENT,
  FRAGMENT_BITS,
  IPV4,
  ipv4Fragment,
  ipv4HeaderBytes,
  ipv4TotalLength,
  PROTOCOL_UDP,
} from '../net/ipv4';
import { IPV6_BYTES, IPV6_MTU_MIN, ipv6NextHeader, ipv6PayloadLength } from '../net/ipv6';
import type { Umem } from '../port/umem';
import { COUNTER, DROP } from '../table/counter';

/** A chunk's frame at the smallest MTU that is still sensible makes fewer. */
const PIECES_MAX = 128;
/** RFC 791 3.2: every link carries this much. */
const IPV4_MTU_MIN = 68;
const { id: ID } = IPV4.at;

const PROTOCOL_IPIP = 4;
const PROTOCOL_IPV6 = 41;
const PROTOCOL_GRE = 47;

export class Splitter {
  private readonly umem: Umem;
  private readonly view: DataView;
  private readonly counters: Float64Array;
  /** The pieces of the packet that was cut last: frames, and their lengths. */
  readonly frames = new Int32Array(PIECES_MAX);
  readonly lengths = new Int32Array(PIECES_MAX);
  /** Why `cut` refused. */
  verdict: number = DROP.mtu_exceeded;
  private id: number;

  /** `seed`: ids that this worker chooses begin there. */
  constructor(umem: Umem, counters: Float64Array, seed: number) {
    this.umem = umem;
    this.view = umem.view;
    this.counters = counters;
    this.id = seed | 0;
  }

  /**
   * Cuts the packet in the frame at `at`, with its checksum request, to `mtu`. Returns the number
   * of pieces, whose chunks are the caller's then; 0: `verdict` says why, and the frame is as it
   * was.
   */
  cut(at: number, lengthBytes: number, checksum: number, mtu: number): number {
    const type = ethernetType(this.view, at);
    let count = 0;
    if (type === TYPE_IPV4) count = this.cut4(at, checksum, mtu);
    else if (type === TYPE_IPV6) count = this.cut6(at, lengthBytes, checksum, mtu);
    else this.verdict = DROP.mtu_exceeded;
    if (count > 0) this.counters[COUNTER.packets_split]! += 1;
    return count;
  }

  /** May it become `count` pieces? */
  private isPossible(count: number): boolean {
    this.verdict = DROP.mtu_exceeded;
    if (count > PIECES_MAX) return false;
    this.verdict = DROP.no_chunk;
    return this.umem.freeCount >= count - 1;
  }

  private cut4(at: number, checksum: number, mtu: number): number {
    const view = this.view;
    const ip = at + ETHERNET_BYTES;
    const headerBytes = ipv4HeaderBytes(view, ip);
    const total = ipv4TotalLength(view, ip);
    const fragment = ipv4Fragment(view, ip);
    this.verdict = DROP.mtu_exceeded;
    if (mtu < IPV4_MTU_MIN || (fragment & FLAG_DONT_FRAGMENT) !== 0) return 0;
    const count = fragmentCount(total - headerBytes, mtu, headerBytes);
    if (!this.isPossible(count)) return 0;
    if (checksum !== 0) completeChecksum(view, at, ETHERNET_BYTES + total, checksum);
    const isWhole = (fragment & FRAGMENT_BITS) === 0;
    if (isWhole && view.getUint16(ip + ID) === 0) view.setUint16(ip + ID, this.nextId() & 0xffff);
    const room = fragmentRoom(mtu, headerBytes);
    const base = fragmentOffset4(view, ip);
    const more = hasMore4(view, ip);
    // The later ones first: they copy the packet's own header.
    for (let piece = count - 1; piece >= 0; piece--) {
      const from = piece * room;
      const isLast = piece === count - 1;
      const bytes = isLast ? total - headerBytes - from : room;
      const frame = piece === 0 ? at : this.copy4(ip, headerBytes, from, bytes);
      const header = frame + ETHERNET_BYTES;
      writeFragmentHeader4(view, header, headerBytes, bytes, base + from, more || !isLast);
      this.frames[piece] = frame;
      this.lengths[piece] = ETHERNET_BYTES + headerBytes + bytes;
    }
    return count;
  }

  /** A chunk with the packet's headers and a part of its data. Returns the frame. */
  private copy4(ip: number, headerBytes: number, from: number, bytes: number): number {
    const frame = this.umem.take();
    const headers = ETHERNET_BYTES + headerBytes;
    const all = this.umem.bytes;
    all.copyWithin(frame, ip - ETHERNET_BYTES, ip + headerBytes);
    const data = ip + headerBytes + from;
    all.copyWithin(frame + headers, data, data + bytes);
    blankFirstOnlyOptions(this.view, frame + ETHERNET_BYTES, headerBytes);
    return frame;
  }

  private cut6(at: number, lengthBytes: number, checksum: number, mtu: number): number {
    const view = this.view;
    const ip = at + ETHERNET_BYTES;
    const nextHeader = ipv6NextHeader(view, ip);
    this.verdict = DROP.mtu_exceeded;
    if (mtu < IPV6_MTU_MIN || !isTunnel(nextHeader)) return 0;
    const headers = IPV6_BYTES + FRAGMENT6_BYTES;
    const total = ipv6PayloadLength(view, ip);
    const count = fragmentCount(total, mtu, headers);
    if (!this.isPossible(count)) return 0;
    if (checksum !== 0) completeChecksum(view, at, lengthBytes, checksum);
    const id = this.nextId();
    const room = fragmentRoom(mtu, headers);
    const data = ip + IPV6_BYTES;
    for (let piece = count - 1; piece >= 0; piece--) {
      const from = piece * room;
      const isLast = piece === count - 1;
      const bytes = isLast ? total - from : room;
      const frame = piece === 0 ? this.open6(at) : this.copy6(at, data + from, bytes);
      const header = frame + ETHERNET_BYTES;
      writeFragmentHeader6(view, header, nextHeader, bytes, from, !isLast, id);
      this.frames[piece] = frame;
      this.lengths[piece] = FRAGMENT6_FRAME_BYTES + bytes;
    }
    return count;
  }

  private copy6(at: number, data: number, bytes: number): number {
    const frame = this.umem.take();
    const all = this.umem.bytes;
    all.copyWithin(frame, at, at + ETHERNET_BYTES + IPV6_BYTES);
    all.copyWithin(frame + FRAGMENT6_FRAME_BYTES, data, data + bytes);
    return frame;
  }

  /** Moves the frame's first headers to the front: room for a fragment header behind them. */
  private open6(at: number): number {
    const frame = at - FRAGMENT6_BYTES;
    this.umem.bytes.copyWithin(frame, at, at + ETHERNET_BYTES + IPV6_BYTES);
    return frame;
  }

  private nextId(): number {
    this.id = (this.id + 1) | 0;
    if ((this.id & 0xffff) === 0) this.id++;
    return this.id;
  }
}

/**
 * Is it the outer packet of a tunnel, which the director itself sends? Who only forwards IPv6 must
 * not cut it: mayLeave in departure.ts answers "too big".
 */
function isTunnel(nextHeader: number): boolean {
  return (
    nextHeader === PROTOCOL_IPIP ||
    nextHeader === PROTOCOL_IPV6 ||
    nextHeader === PROTOCOL_GRE ||
    nextHeader === PROTOCOL_UDP
  );
}
