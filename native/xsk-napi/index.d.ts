/**
 * xsk-napi: AF_XDP sockets, the XDP program, and the few system calls a packet worker needs.
 *
 * Every failing call throws a SystemError-like Error with `syscall`, `errno` (positive number),
 * `code` ('EBUSY') and, where it applies, `interface` and `queue`.
 */

export interface XskError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  readonly interface?: string;
  readonly queue?: number;
}

/** What this kernel and this build can do; each is found by trying, never by version. */
export interface Features {
  readonly afXdp: boolean;
  readonly txMetadata: boolean;
  readonly maxTxSkbBudget: boolean;
  readonly preferBusyPoll: boolean;
  readonly nodeVersion: string;
  readonly kernel: string;
}
export function probe(): Features;

export interface InterfaceInfo {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  /** "02:00:00:00:00:01" */
  readonly mac: string;
  readonly up: boolean;
  readonly rxQueues: number;
  readonly txQueues: number;
  readonly driver: string;
}
/** Throws ENODEV for an unknown name. */
export function interfaceInfo(name: string): InterfaceInfo;

/**
 * Bytes from the start of `buffer` to its first page boundary. A UMEM must start there; allocate
 * one page more than needed.
 */
export function pageOffset(buffer: SharedArrayBuffer): number;

/**
 * Asks the kernel for huge pages (2 MiB) where `buffer` has room for them: for tables that are
 * looked into at random. Before they are first written. False: there is no room, or the kernel
 * does not have them.
 */
export function adviseHugePages(buffer: SharedArrayBuffer): boolean;

export interface UmemOptions {
  /** The memory; frames' offsets count from `offset`. A reference is kept while registered. */
  readonly buffer: SharedArrayBuffer;
  /** Page-aligned start within `buffer`, from pageOffset(). */
  readonly offset: number;
  readonly chunkSize: number; // 2048 or 4096
  readonly chunkCount: number;
  /** Ask for tx metadata (checksum); `Umem.txMetadata` tells whether it was granted. */
  readonly txMetadata: boolean;
  /**
   * Free chunks, shared with JavaScript on the same thread: word 0 = how many, then their offsets
   * (stack, the top is the last). At least chunkCount + 1 words. The caller fills it with every
   * chunk before the first socket is opened. Refill pops from it, completions push onto it.
   */
  readonly free: Int32Array;
  /**
   * CLOCK_MONOTONIC modulo 2^32, 4 words: word 0 in ticks of 100 ms, word 1 in microseconds, word 2
   * in nanoseconds, all three written at the end of every rxBurst and poll, word 2 at the end of
   * every txBurst too; word 3 in nanoseconds, when the last txBurst began.
   */
  readonly clock: Int32Array;
}
export interface Umem {
  readonly txMetadata: boolean;
  /** Bytes of a received frame's start from its chunk's start (256, XDP_PACKET_HEADROOM). */
  readonly headroom: number;
  close(): void;
}
export function createUmem(options: UmemOptions): Umem;

export interface SocketOptions {
  readonly interface: string;
  readonly queue: number;
  readonly ringSize: number; // power of two, all four rings
  /** auto tries zero copy, then copy. */
  readonly zeroCopy: 'auto' | 'on' | 'off';
  /** SO_PREFER_BUSY_POLL on zero-copy sockets; 0 = off, else the budget. */
  readonly busyPollBudget: number;
  /** rx and tx descriptors as src/port/port.ts declares them (2 and 3 words a frame). */
  readonly rx: Int32Array;
  readonly tx: Int32Array;
  /** Counters, written by the socket only: see SOCKET_COUNTERS. */
  readonly counters: Float64Array;
}
/** Order of the words in SocketOptions.counters. */
export const SOCKET_COUNTERS: readonly [
  'rxFrames',
  'rxBytes',
  'txFrames',
  'txBytes',
  'txWakeups',
  'txWakeupRetries', // sendto said EAGAIN or EBUSY and was repeated
  'txWakeupFailures', // gave up after the bound, or another errno
  'txRingFull', // frames freed because the tx ring had no room
  'rxWakeups', // fill ring asked for a wake-up
  'fillStarved', // refills that found no free chunk
  // from XDP_STATISTICS, at each statistics()
  'kernelRxDropped',
  'kernelRxInvalid',
  'kernelTxInvalid',
  'kernelRxRingFull',
  'kernelFillRingEmpty',
  'kernelTxRingEmpty',
  // levels at the time of statistics()
  'rxRingLevel',
  'txRingLevel',
  'fillRingLevel',
  'completionRingLevel',
];
export interface XskSocket {
  readonly fd: number;
  readonly zeroCopy: boolean;
  readonly needWakeup: boolean;
  readonly busyPoll: boolean;
  readonly maxTxSkbBudget: number; // 0 = not set
  /**
   * One call per burst: reaps this socket's completions onto the free stack, refills the fill
   * ring, receives up to `max` frames into `rx` ([offset, length] each), writes the clock last.
   * Returns how many frames. Wakes the driver when the fill ring asks for it.
   */
  rxBurst(max: number): number;
  /**
   * Queues the first `count` descriptors of `tx` ([offset, length, checksum request] each) and
   * wakes the kernel if it asks for it: EAGAIN and EBUSY are retried a bounded number of times and
   * counted, and completions are reaped meanwhile. Frames that find no room in the ring are put
   * on the free stack and counted as txRingFull. Returns how many were queued.
   * A checksum request without UMEM metadata is computed here, before queueing.
   */
  txBurst(count: number): number;
  /** Reads XDP_STATISTICS and ring levels into `counters`. */
  statistics(): void;
  /** Entries in the rx, tx, fill and completion ring, in this order: no system call. */
  levels(into: Int32Array): void;
  close(): void;
}
/**
 * Opens and binds a socket on `umem`. The first socket of a UMEM registers its rings; later ones
 * share it (XDP_SHARED_UMEM), on any interface and queue, each with fill and completion rings.
 */
export function openSocket(umem: Umem, options: SocketOptions): XskSocket;

export interface Event {
  readonly fd: number;
  /** Wakes whoever polls; callable from any thread that has the fd (see signalEvent). */
  signal(): void;
  /** Makes the event silent again. */
  drain(): void;
  close(): void;
}
/** eventfd, non-blocking. */
export function createEvent(): Event;
/** Signals an event by its fd, from another thread of the process. */
export function signalEvent(fd: number): void;

/**
 * A poll set of a worker: sockets' fds (POLLIN) and an event. `poll(timeoutMs)` returns how many
 * are ready, 0 on time-out; EINTR counts as 0. -1 as a time-out waits for ever. Writes the UMEM's
 * clock after waking when `umem` is given. `event` is made silent when it is among those ready.
 */
export interface Poller {
  poll(timeoutMs: number): number;
  close(): void;
}
export function createPoller(fds: readonly number[], umem?: Umem, event?: Event): Poller;

/**
 * Asks the CPU for cache lines of `table` (lines of `1 << shift` words) ahead of their use:
 * `fetch(count)` for the first `count` of `places`, line `places[i] & mask`. Both arrays are kept
 * while it is open; what `places` holds is read at each call.
 */
export interface Prefetcher {
  fetch(count: number): void;
  close(): void;
}
export function createPrefetcher(
  table: Int32Array,
  places: Int32Array,
  mask: number,
  shift: number,
): Prefetcher;

/** Writes words 0 to 2 of a clock as rxBurst does (UmemOptions.clock), at each `read()`. */
export interface Clock {
  read(): void;
  close(): void;
}
export function createClock(words: Int32Array): Clock;

/** Pins the calling thread to a CPU. Throws EINVAL for a CPU that is not there. */
export function pinThread(cpu: number): void;
/** Kernel id of the calling thread. */
export function threadId(): number;
/** CLOCK_MONOTONIC of the calling thread's CPU use in microseconds (CLOCK_THREAD_CPUTIME_ID). */
export function threadCpuMicroseconds(): number;

/** Program and maps, shared by all interfaces it is attached to. Main thread only. */
export interface XdpProgram {
  /** Attaches through a bpf_link. `auto`: native, then generic. Returns what it is. */
  attach(interfaceName: string, mode: 'auto' | 'native' | 'generic'): 'native' | 'generic';
  /** Detaches; unknown interfaces are ignored. */
  detach(interfaceName: string): void;
  /** Frames that match on `queue` of the interface go to the socket with this fd from now on. */
  setSocket(interfaceName: string, queue: number, socketFd: number): void;
  clearSocket(interfaceName: string, queue: number): void;
  /**
   * Maps by name: 'services', 'real_servers', 'local_addresses', 'endpoints4',
   * 'endpoints6', 'fragment_addresses', 'settings', 'mark_rules_0', 'mark_rules_1',
   * 'mark_services', 'interfaces', 'other_macs'.
   */
  mapUpdate(map: string, key: Uint8Array, value: Uint8Array): void;
  /** False when the key was not there. */
  mapDelete(map: string, key: Uint8Array): boolean;
  /**
   * As mapUpdate, for entries whose keys and values stand one behind the other: a few calls into
   * the kernel for thousands. Throws at the first that is refused; those before it are written.
   */
  mapUpdateMany(map: string, keys: Uint8Array, values: Uint8Array): void;
  /** As mapDelete, for keys one behind the other; those that are not there are passed over. */
  mapDeleteMany(map: string, keys: Uint8Array): void;
  /** The value of a key; null: there is none. */
  mapLookup(map: string, key: Uint8Array): Uint8Array | null;
  mapEntries(map: string): { key: Uint8Array; value: Uint8Array }[];
  /**
   * Runs the program of an interface it is attached to on a frame, as if that had come in by queue
   * 0 (BPF_PROG_TEST_RUN). The XDP action: 2 = pass, 4 = redirect. It counts its verdict and sends
   * nothing.
   */
  testRun(interfaceName: string, frame: Uint8Array): number;
  /** As testRun, `runs` times (1 to 10,000,000): the mean of one in whole nanoseconds. */
  testTime(interfaceName: string, frame: Uint8Array, runs: number): number;
  /** Verdict counters summed over CPUs, in the order of XDP_VERDICTS. */
  verdicts(): number[];
  close(): void;
}
export function loadProgram(objectPath?: string): XdpProgram;
/** The program's verdict counters; 'pass_*' went to the kernel, 'redirect_*' to a worker. */
export const XDP_VERDICTS: readonly string[];

/**
 * The program for real servers: strips tunnel headers and hands the inner packet to the stack. Its
 * maps: 'vips', 'gue_ports', 'settings'; its verdicts in the order of DECAP_VERDICTS.
 */
export type Decapsulator = Omit<XdpProgram, 'setSocket' | 'clearSocket'>;
export function loadDecapsulator(objectPath?: string): Decapsulator;
/** 'pass_*' went to the kernel as they were, 'decap_*' without their outer headers. */
export const DECAP_VERDICTS: readonly string[];

/** TAP device through which a worker gives frames back to the host. */
export interface Tap {
  readonly name: string;
  readonly index: number;
  readonly fd: number;
  /**
   * Writes one frame from the UMEM: virtio_net_hdr in front, VIRTIO_NET_HDR_F_NEEDS_CSUM when
   * `checksum` (start << 16 | offset) is not 0. False when the kernel did not take it.
   */
  write(offset: number, lengthBytes: number, checksum: number): boolean;
  close(): void;
}
/**
 * Opens (creates on the first call) a multi-queue TAP; brings it up without addresses of any
 * family. It disappears when the last fd is closed. `umem` is where write() reads from.
 */
export function openTap(name: string, umem: Umem): Tap;

/** Raw netlink socket, non-blocking. */
export interface Netlink {
  readonly fd: number;
  send(message: Uint8Array): void;
  /** Bytes received into `buffer`, 0 when there is nothing; throws ENOBUFS after an overrun. */
  receive(buffer: Uint8Array): number;
  close(): void;
}
/** `groups`: multicast group numbers (RTNLGRP_*), joined one by one. */
export function openNetlink(protocol: number, groups: readonly number[]): Netlink;

/** Calls back on the event loop whenever the fd is readable, until closed. */
export interface Watcher {
  close(): void;
}
export function watch(fd: number, callback: () => void): Watcher;

/** Peer credentials of a Unix socket. */
export function peerCredentials(fd: number): { pid: number; uid: number; gid: number };

/**
 * Open objects of this environment, for leak tests: sockets, umems, polls, programs ...
 */
export function openHandles(): Record<string, number>;
