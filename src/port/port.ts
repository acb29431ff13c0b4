/**
 * What a worker needs of a port: a burst in, a burst out. The pipeline does not know whether
 * frames come from an AF_XDP socket (xdpPort.ts) or from memory (memoryPort.ts).
 *
 * Ownership of a chunk: received frames belong to the worker until it stages them for transmit on
 * a port of the same UMEM, or gives them back with `Umem.free`. After `transmit` the port owns
 * every staged frame, also those it could not send (it frees and counts them).
 */

/** Frames a port receives, and stages, at most at once: chosen by measurement (docs/bench.md). */
export const BURST_MAX = 128;

/** Words of one rx descriptor: offset of the frame in the UMEM, length in bytes. */
export const RX_WORDS = 2;
/**
 * Words of one tx descriptor: offset of the frame in the UMEM, length in bytes, checksum request
 * (0 = none; else start << 16 | offset, both in bytes, start from the frame's first byte, offset
 * from start: where the ones' complement sum from `start` to the end has to be stored).
 */
export const TX_WORDS = 3;

export interface Port {
  readonly name: string;
  /** Interface slot: index in the link table, the same in all workers. */
  readonly slot: number;
  /**
   * The last burst received, RX_WORDS words a frame: the list of the UMEM, so its content stays
   * until any port of that UMEM receives.
   */
  readonly rx: Int32Array;
  /** Frames staged for the next `transmit`: TX_WORDS words a frame, room for BURST_MAX. */
  readonly tx: Int32Array;
  /** How many frames are staged in `tx`. The worker counts up, `transmit` resets. */
  txCount: number;
  /** Receives up to BURST_MAX frames into `rx`; also refills and reaps. Returns how many. */
  receive(): number;
  /** Sends what is staged and wakes the kernel when it asks for it. Returns how many it took. */
  transmit(): number;
}

/** Where a worker puts frames that the host's own stack shall have. */
export interface HostPort {
  /** Hands a copy of a frame to the host. `checksum` as in TX_WORDS. False: it did not take it. */
  deliver(offset: number, lengthBytes: number, checksum: number): boolean;
}
