/**
 * Counters: one block of doubles per worker in shared memory, written by that worker only (plain
 * adds, exact to 2^53), read by the control plane at any time. A block holds the worker's own
 * counters, then five for each service slot and five for each real-server slot.
 */
import { REAL_SERVERS_MAX } from './realServer';
import { SERVICES_MAX } from './service';

/**
 * Why a frame was dropped. The same names in code, metrics (label `reason`) and docs/metrics.md.
 */
export const DROP_REASONS = [
  'malformed',
  'ip_checksum',
  'no_real_server',
  'real_server_unavailable',
  'table_full',
  'lock_busy',
  'ttl_exceeded',
  'mtu_exceeded',
  'no_route',
  'neighbour_queue_full',
  'neighbour_unresolved',
  'host_refused',
  'drop_packet',
  'real_server_refused',
  'forwarding_method',
  'local_mapped',
  'local_ports_exhausted',
  'fragment_refused',
  'fragment_unsound',
  'no_chunk',
  'tunnel_source',
  'tunnel_unserved',
  'icmp_checksum',
  'icmp_fragment',
  'tunnel_error',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** Why a frame was given back to the host's stack. */
export const PASS_REASONS = [
  'no_connection',
  'no_service',
  'not_scheduled',
  'protocol',
  'fragment',
  'fragment_orphan',
  'local_real_server',
  'unserved_interface',
] as const;
export type PassReason = (typeof PASS_REASONS)[number];

/** What else a worker counts. */
export const WORKER_COUNTERS = [
  'rx_frames',
  'rx_bytes',
  'tx_frames',
  'tx_bytes',
  'connections_created',
  'connections_expired',
  /** Packets of a connection that another worker created. */
  'foreign_packets',
  'icmp_sent',
  'icmp_rate_limited',
  'checksums_unfinished',
  'neighbour_waited',
  'bursts',
  'empty_polls',
  'sleeps',
  'busy_microseconds',
  'total_microseconds',
  'timer_mail_lost',
  /** FULLNAT: clients' addresses told to real servers, those that did not fit, resets sent. */
  'toa_inserted',
  'toa_failed',
  'resets_sent',
  /** Later fragments that came before their first one; each is in one of the next three, then. */
  'fragments_held',
  'fragments_rejoined',
  'fragments_timed_out',
  'fragments_crowded_out',
  /** Datagrams that gave way to others in the table of fragments. */
  'fragments_displaced',
  /** Packets that were cut to the MTU. */
  'packets_split',
] as const;

type Names = readonly string[];
function indexOf<T extends Names>(names: T, base: number): Record<T[number], number> {
  return Object.fromEntries(names.map((name, at) => [name, base + at])) as Record<
    T[number],
    number
  >;
}

const DROP_BASE = 0;
const PASS_BASE = DROP_BASE + DROP_REASONS.length;
const WORKER_BASE = PASS_BASE + PASS_REASONS.length;
/** Index of each counter in a worker's block; a verdict of the pipeline is such an index. */
export const DROP = indexOf(DROP_REASONS, DROP_BASE);
export const PASS = indexOf(PASS_REASONS, PASS_BASE);
export const COUNTER = indexOf(WORKER_COUNTERS, WORKER_BASE);
/** Verdict of a frame that was staged for transmit, or is kept. */
export const FORWARDED = -1;
/** Not a verdict yet: the next step decides. */
export const GO_ON = -2;
export const isDrop = (verdict: number): boolean => verdict >= 0 && verdict < PASS_BASE;
export const isPass = (verdict: number): boolean => verdict >= PASS_BASE;

export const TRAFFIC_CONNECTIONS = 0;
export const TRAFFIC_IN_PACKETS = 1;
export const TRAFFIC_OUT_PACKETS = 2;
export const TRAFFIC_IN_BYTES = 3;
export const TRAFFIC_OUT_BYTES = 4;
/** Doubles a service's or server's traffic takes: one cache line. */
export const TRAFFIC_STRIDE = 8;
const TRAFFIC_SHIFT = 3;
/** Of a slot: tell V8 that no sum overflows. */
const SERVICE_BITS = 0x1ffff;
const SERVER_BITS = REAL_SERVERS_MAX - 1;

const OWN_DOUBLES = 64;
const SERVICE_BASE = OWN_DOUBLES;
const SERVER_BASE = SERVICE_BASE + SERVICES_MAX * TRAFFIC_STRIDE;
const BLOCK_DOUBLES = SERVER_BASE + REAL_SERVERS_MAX * TRAFFIC_STRIDE;

if (WORKER_BASE + WORKER_COUNTERS.length > OWN_DOUBLES) {
  throw new RangeError('worker counters do not fit their block');
}

export function counterBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(BLOCK_DOUBLES * 8);
}
/** Index of a service slot's traffic in a block. */
export function serviceTraffic(slot: number): number {
  return SERVICE_BASE + ((slot & SERVICE_BITS) << TRAFFIC_SHIFT);
}
/** Index of a real-server slot's traffic in a block. */
export function realServerTraffic(slot: number): number {
  return SERVER_BASE + ((slot & SERVER_BITS) << TRAFFIC_SHIFT);
}
