/**
 * The way out: next hop, MACs, tx staging, and the frames that wait for a neighbour's MAC. The
 * kernel resolves neighbours; a bounded number of frames waits here meanwhile.
 */

import { ETHERNET_BYTES } from '../net/ethernet';
import { BURST_MAX, type HostPort, type Port, TX_WORDS } from '../port/port';
import { OFFSET_BITS, type Umem } from '../port/umem';
import { COUNTER, DROP, FORWARDED, PASS } from '../table/counter';
import { HOP_HOST, HOP_LOCAL, HOP_WAIT, type NextHopTable } from '../table/nextHop';
import { FAMILY_IPV4, FAMILY_IPV6 } from './packet';
import { Splitter } from './split';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const STAGED = FORWARDED;
const BURST = BURST_MAX;
const DESCRIPTOR = TX_WORDS;
const ETHERNET = ETHERNET_BYTES;
// Masks that change nothing: by them V8 knows that what is added to a number cannot overflow.
const OFFSET = OFFSET_BITS;
const PLACE_BITS = BURST_MAX - 1;
const [IPV4, IPV6] = [FAMILY_IPV4, FAMILY_IPV6];
const { tx_frames: TX_FRAMES, tx_bytes: TX_BYTES } = COUNTER;

/** Frames that may wait for neighbours, per worker. */
const WAITING_MAX = 256;
/** Of those, frames to one address: a dead neighbour leaves room for the others. */
const WAITING_EACH_MAX = 64;
/** Ticks a frame waits at most: 3 s. */
const WAITING_TICKS = 30;
const ADDRESS_WORDS = 4;

export class Egress {
  private readonly umem: Umem;
  private readonly words: Int32Array;
  /** One for each slot, for a table may name any. */
  private readonly ports: readonly (Port | null)[];
  private readonly host: HostPort;
  private readonly hops: NextHopTable;
  private readonly counters: Float64Array;
  /** For who cuts a packet before it gets here. */
  readonly splitter: Splitter;
  // Frames that wait: a dense list in these columns.
  private readonly waitingAt = new Int32Array(WAITING_MAX);
  private readonly waitingLength = new Int32Array(WAITING_MAX);
  private readonly waitingChecksum = new Int32Array(WAITING_MAX);
  private readonly waitingFamily = new Int32Array(WAITING_MAX);
  /** Four words each; IPv4 in the last, as in a connection's entry. */
  private readonly waitingAddress = new Int32Array(WAITING_MAX * ADDRESS_WORDS);
  private readonly waitingSince = new Int32Array(WAITING_MAX);
  private waitingCount = 0;
  private seenGeneration = 0;
  private seenResolutions = 0;
  private seenTick = 0;

  constructor(
    umem: Umem,
    ports: readonly (Port | null)[],
    host: HostPort,
    hops: NextHopTable,
    counters: Float64Array,
  ) {
    this.umem = umem;
    this.words = umem.words;
    this.ports = ports;
    this.host = host;
    this.hops = hops;
    this.counters = counters;
    this.splitter = new Splitter(umem, counters, Math.random() * 0x7fffffff);
  }

  get waiting(): number {
    return this.waitingCount;
  }

  /**
   * Sends a frame over a hop (> 0), or does what else the hop says; `address` is where it goes:
   * IPv4, see send6. A packet that is too long for the way goes in pieces, if it may. FORWARDED:
   * the frame is staged or kept. Else the verdict, and the frame is still the caller's.
   */
  send(
    at: number,
    lengthBytes: number,
    checksum: number,
    hop: number,
    address: number,
    tick: number,
  ): number {
    if (hop > 0) {
      const mtu = this.hops.mtu4(hop, address, lengthBytes - ETHERNET);
      if (lengthBytes - ETHERNET > mtu) {
        return this.stagePieces(at, lengthBytes, checksum, mtu, hop, tick);
      }
      return this.sendFitting(at, lengthBytes, checksum, hop, tick);
    }
    if (hop !== HOP_WAIT) return refusal(hop);
    return this.wait(at, lengthBytes, checksum, IPV4, 0, 0, 0, address, tick);
  }

  /** As `send`, to an IPv6 address. */
  send6(
    at: number,
    lengthBytes: number,
    checksum: number,
    hop: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    tick: number,
  ): number {
    if (hop > 0) {
      const total = lengthBytes - ETHERNET;
      const mtu = this.hops.mtu6(hop, word0, word1, word2, word3, total);
      if (total > mtu) return this.stagePieces(at, lengthBytes, checksum, mtu, hop, tick);
      return this.sendFitting(at, lengthBytes, checksum, hop, tick);
    }
    if (hop !== HOP_WAIT) return refusal(hop);
    return this.wait(at, lengthBytes, checksum, IPV6, word0, word1, word2, word3, tick);
  }

  /**
   * The port by which an IP packet of so many bytes leaves over a hop (> 0); null: there is none,
   * or the packet may be too long for the way.
   */
  way(hop: number, totalBytes: number): Port | null {
    if (!this.hops.fits(hop, totalBytes)) return null;
    return this.ports[this.hops.neighbours.interfaceSlot(this.hops.slotOf(hop))]!;
  }

  /** Sends a frame over a hop (> 0) whose MTU it is known to fit. Verdicts as `send`. */
  sendFitting(
    at: number,
    lengthBytes: number,
    checksum: number,
    hop: number,
    tick: number,
  ): number {
    const port = this.ports[this.hops.neighbours.interfaceSlot(this.hops.slotOf(hop))]!;
    if (port === null) return DROP.no_route;
    this.stage(port, at, lengthBytes, hop, tick);
    if (checksum !== 0) this.request(port, checksum);
    return STAGED;
  }

  /** The same of a frame whose port is known. */
  stage(port: Port, at: number, lengthBytes: number, hop: number, tick: number): void {
    const { links, neighbours } = this.hops;
    const slot = this.hops.slotOf(hop);
    const outgoing = neighbours.interfaceSlot(slot);
    const words = this.words;
    const word = (at & OFFSET) >>> 2;
    words[word] = neighbours.macStart(slot);
    words[word + 1] = neighbours.macEnd(slot) | links.macStart(outgoing);
    words[word + 2] = links.macEnd(outgoing);
    neighbours.touch(slot, tick);
    if (port.txCount === BURST) port.transmit();
    const { tx } = port;
    const place = port.txCount & PLACE_BITS;
    tx[place * DESCRIPTOR] = at;
    tx[place * DESCRIPTOR + 1] = lengthBytes;
    tx[place * DESCRIPTOR + 2] = 0;
    port.txCount = place + 1;
    this.counters[TX_FRAMES]! += 1;
    this.counters[TX_BYTES]! += lengthBytes;
  }

  /** Has the port finish a checksum of the frame that was staged on it last. */
  request(port: Port, checksum: number): void {
    port.tx[port.txCount * DESCRIPTOR - 1] = checksum;
  }

  private stagePieces(
    at: number,
    lengthBytes: number,
    checksum: number,
    mtu: number,
    hop: number,
    tick: number,
  ): number {
    const splitter = this.splitter;
    const count = splitter.cut(at, lengthBytes, checksum, mtu);
    if (count === 0) return splitter.verdict;
    for (let piece = 0; piece < count; piece++) {
      const frame = splitter.frames[piece]!;
      const verdict = this.sendFitting(frame, splitter.lengths[piece]!, 0, hop, tick);
      if (verdict !== STAGED) this.finish(verdict, frame, splitter.lengths[piece]!, 0);
    }
    return STAGED;
  }

  private wait(
    at: number,
    lengthBytes: number,
    checksum: number,
    family: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    since: number,
  ): number {
    const place = this.waitingCount;
    const full = place === WAITING_MAX;
    if (full || this.waitingFor(family, word0, word1, word2, word3) >= WAITING_EACH_MAX) {
      return DROP.neighbour_queue_full;
    }
    this.waitingAt[place] = at;
    this.waitingLength[place] = lengthBytes;
    this.waitingChecksum[place] = checksum;
    this.waitingFamily[place] = family;
    const words = place * ADDRESS_WORDS;
    this.waitingAddress[words] = word0;
    this.waitingAddress[words + 1] = word1;
    this.waitingAddress[words + 2] = word2;
    this.waitingAddress[words + 3] = word3;
    this.waitingSince[place] = since;
    this.waitingCount = place + 1;
    this.counters[COUNTER.neighbour_waited]! += 1;
    return FORWARDED;
  }

  private waitingFor(
    family: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
  ): number {
    const addresses = this.waitingAddress;
    let count = 0;
    for (let place = 0; place < this.waitingCount; place++) {
      const words = place * ADDRESS_WORDS;
      if (
        addresses[words + 3] === word3 &&
        addresses[words + 2] === word2 &&
        addresses[words + 1] === word1 &&
        addresses[words] === word0 &&
        this.waitingFamily[place] === family
      ) {
        count++;
      }
    }
    return count;
  }

  /** Sends what waited and now has a neighbour; drops what waited too long. Once a burst. */
  retry(tick: number): void {
    if (this.waitingCount === 0) return;
    const hops = this.hops;
    const generation = hops.generation;
    const resolutions = hops.resolutions;
    if (
      generation === this.seenGeneration &&
      resolutions === this.seenResolutions &&
      tick === this.seenTick
    ) {
      return;
    }
    this.seenGeneration = generation;
    this.seenResolutions = resolutions;
    this.seenTick = tick;
    const count = this.waitingCount;
    this.waitingCount = 0;
    for (let place = 0; place < count; place++) this.retryOne(place, tick);
  }

  private retryOne(place: number, tick: number): void {
    const at = this.waitingAt[place]!;
    const lengthBytes = this.waitingLength[place]!;
    const checksum = this.waitingChecksum[place]!;
    const family = this.waitingFamily[place]!;
    const words = place * ADDRESS_WORDS;
    const word0 = this.waitingAddress[words]!;
    const word1 = this.waitingAddress[words + 1]!;
    const word2 = this.waitingAddress[words + 2]!;
    const word3 = this.waitingAddress[words + 3]!;
    const since = this.waitingSince[place]!;
    const hops = this.hops;
    const hop = family === IPV4 ? hops.resolve(word3) : hops.resolve6(word0, word1, word2, word3);
    if (hop === HOP_WAIT && ((tick - since) | 0) < WAITING_TICKS) {
      // Keeps its age; the place is free, for it is not behind the one being read.
      this.wait(at, lengthBytes, checksum, family, word0, word1, word2, word3, since);
      this.counters[COUNTER.neighbour_waited]! -= 1;
      return;
    }
    let verdict: number = DROP.neighbour_unresolved;
    // Has become the host's own address: what waits may be translated already.
    if (hop === HOP_LOCAL) verdict = DROP.local_mapped;
    else if (hop !== HOP_WAIT) {
      verdict =
        family === IPV4
          ? this.send(at, lengthBytes, checksum, hop, word3, tick)
          : this.send6(at, lengthBytes, checksum, hop, word0, word1, word2, word3, tick);
    }
    this.settle(verdict, at, lengthBytes, checksum);
  }

  /** Ends a frame with what a way to send it returned. One place, so that the branch is known. */
  settle(verdict: number, at: number, lengthBytes: number, checksum: number): void {
    if (verdict !== STAGED) this.finish(verdict, at, lengthBytes, checksum);
  }

  /** Ends a frame that is not forwarded: counts it, gives it to the host or drops it. */
  finish(verdict: number, at: number, lengthBytes: number, checksum: number): void {
    this.counters[verdict]! += 1;
    if (verdict >= PASS.no_connection && lengthBytes >= ETHERNET_BYTES) {
      if (!this.host.deliver(at, lengthBytes, checksum)) {
        this.counters[DROP.host_refused]! += 1;
      }
    }
    this.umem.release(at);
  }
}

/** What becomes of a frame whose hop is none. */
function refusal(hop: number): number {
  if (hop === HOP_LOCAL) return PASS.local_real_server;
  return hop === HOP_HOST ? PASS.unserved_interface : DROP.no_route;
}
