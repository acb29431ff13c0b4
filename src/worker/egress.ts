/**
 * The way out: next hop, MACs, tx staging, and the frames that wait for a neighbour's MAC. The
 * kernel resolves neighbours; a bounded number of frames waits here meanwhile.
 */

import { ETHERNET_BYTES, setEthernetAddresses } from '../net/ethernet';
import { BURST_MAX, type HostPort, type Port, TX_WORDS } from '../port/port';
import type { Umem } from '../port/umem';
import { COUNTER, DROP, FORWARDED, PASS } from '../table/counter';
import { HOP_HOST, HOP_LOCAL, HOP_WAIT, type NextHopTable } from '../table/nextHop';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const STAGED = FORWARDED;
const BURST = BURST_MAX;
const DESCRIPTOR = TX_WORDS;
const { tx_frames: TX_FRAMES, tx_bytes: TX_BYTES } = COUNTER;

/** Frames that may wait for neighbours, per worker. */
const WAITING_MAX = 256;
/** Of those, frames to one address: a dead neighbour leaves room for the others. */
const WAITING_EACH_MAX = 64;
/** Ticks a frame waits at most: 3 s. */
const WAITING_TICKS = 30;

export class Egress {
  readonly #umem: Umem;
  readonly #ports: readonly (Port | null)[];
  readonly #host: HostPort;
  readonly #hops: NextHopTable;
  readonly #counters: Float64Array;
  // Frames that wait: a dense list in these columns.
  readonly #waitingAt = new Int32Array(WAITING_MAX);
  readonly #waitingLength = new Int32Array(WAITING_MAX);
  readonly #waitingChecksum = new Int32Array(WAITING_MAX);
  readonly #waitingAddress = new Int32Array(WAITING_MAX);
  readonly #waitingSince = new Int32Array(WAITING_MAX);
  #waiting = 0;
  #seenGeneration = 0;
  #seenResolutions = 0;
  #seenTick = 0;

  constructor(
    umem: Umem,
    ports: readonly (Port | null)[],
    host: HostPort,
    hops: NextHopTable,
    counters: Float64Array,
  ) {
    this.#umem = umem;
    this.#ports = ports;
    this.#host = host;
    this.#hops = hops;
    this.#counters = counters;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** MTU of the interface a hop leaves by. */
  mtu(hop: number): number {
    return this.#hops.links.mtu(this.#hops.interfaceSlot(this.#hops.slotOf(hop)));
  }

  /**
   * Sends a frame over a hop (> 0), or does what else the hop says; `address` is where it goes.
   * FORWARDED: the frame is staged or kept. Else the verdict, and the frame is still the caller's.
   */
  send(
    at: number,
    lengthBytes: number,
    checksum: number,
    hop: number,
    address: number,
    tick: number,
  ): number {
    if (hop > 0) return this.#stage(at, lengthBytes, checksum, this.#hops.slotOf(hop), tick);
    if (hop === HOP_WAIT) return this.#wait(at, lengthBytes, checksum, address, tick);
    if (hop === HOP_LOCAL) return PASS.local_real_server;
    if (hop === HOP_HOST) return PASS.unserved_interface;
    return DROP.no_route;
  }

  #stage(at: number, lengthBytes: number, checksum: number, slot: number, tick: number): number {
    const hops = this.#hops;
    const outgoing = hops.interfaceSlot(slot);
    const port = this.#ports[outgoing];
    if (port === null || port === undefined) return DROP.no_route;
    const links = hops.links;
    setEthernetAddresses(
      this.#umem.view,
      at,
      hops.macHigh(slot),
      hops.macLow(slot),
      links.macHigh(outgoing),
      links.macLow(outgoing),
    );
    hops.touch(slot, tick);
    if (port.txCount === BURST) port.transmit();
    const descriptor = port.txCount * DESCRIPTOR;
    port.tx[descriptor] = at;
    port.tx[descriptor + 1] = lengthBytes;
    port.tx[descriptor + 2] = checksum;
    port.txCount++;
    this.#counters[TX_FRAMES]! += 1;
    this.#counters[TX_BYTES]! += lengthBytes;
    return STAGED;
  }

  #wait(at: number, lengthBytes: number, checksum: number, address: number, tick: number): number {
    const place = this.#waiting;
    if (place === WAITING_MAX || this.#waitingFor(address) >= WAITING_EACH_MAX) {
      return DROP.neighbour_queue_full;
    }
    this.#waitingAt[place] = at;
    this.#waitingLength[place] = lengthBytes;
    this.#waitingChecksum[place] = checksum;
    this.#waitingAddress[place] = address;
    this.#waitingSince[place] = tick;
    this.#waiting = place + 1;
    this.#counters[COUNTER.neighbour_waited]! += 1;
    return FORWARDED;
  }

  #waitingFor(address: number): number {
    let count = 0;
    for (let place = 0; place < this.#waiting; place++) {
      if (this.#waitingAddress[place] === address) count++;
    }
    return count;
  }

  /** Sends what waited and now has a neighbour; drops what waited too long. Once a burst. */
  retry(tick: number): void {
    if (this.#waiting === 0) return;
    const hops = this.#hops;
    const generation = hops.generation;
    const resolutions = hops.resolutions;
    if (
      generation === this.#seenGeneration &&
      resolutions === this.#seenResolutions &&
      tick === this.#seenTick
    ) {
      return;
    }
    this.#seenGeneration = generation;
    this.#seenResolutions = resolutions;
    this.#seenTick = tick;
    const count = this.#waiting;
    this.#waiting = 0;
    for (let place = 0; place < count; place++) this.#retryOne(place, tick);
  }

  #retryOne(place: number, tick: number): void {
    const at = this.#waitingAt[place]!;
    const lengthBytes = this.#waitingLength[place]!;
    const checksum = this.#waitingChecksum[place]!;
    const address = this.#waitingAddress[place]!;
    const since = this.#waitingSince[place]!;
    const hop = this.#hops.resolve(address);
    if (hop === HOP_WAIT && ((tick - since) | 0) < WAITING_TICKS) {
      // Keeps its age; the place is free, for it is not behind the one being read.
      this.#wait(at, lengthBytes, checksum, address, since);
      this.#counters[COUNTER.neighbour_waited]! -= 1;
      return;
    }
    const verdict =
      hop === HOP_WAIT
        ? DROP.neighbour_unresolved
        : this.send(at, lengthBytes, checksum, hop, address, tick);
    if (verdict !== FORWARDED) this.finish(verdict, at, lengthBytes, checksum);
  }

  /** Ends a frame that is not forwarded: counts it, gives it to the host or drops it. */
  finish(verdict: number, at: number, lengthBytes: number, checksum: number): void {
    this.#counters[verdict]! += 1;
    if (verdict >= PASS.no_connection && lengthBytes >= ETHERNET_BYTES) {
      if (!this.#host.deliver(at, lengthBytes, checksum)) {
        this.#counters[DROP.host_refused]! += 1;
      }
    }
    this.#umem.release(at);
  }
}
