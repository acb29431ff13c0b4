/**
 * What the control plane knows of services and real servers, beside the tables that workers read:
 * keys as text, settings, slots, and where counters stood when they were last zeroed.
 */
import type { Estimator } from './estimator';
import type { ServerKey, ServerSettings, ServiceKey, ServiceSettings } from './protocol';

export type { ServerSpec, ServiceSpec } from './protocol';

export interface RealServer {
  readonly slot: number;
  readonly key: ServerKey;
  settings: ServerSettings;
  /** Counters at the last zeroing, summed over workers: see TRAFFIC_*. */
  zero: Float64Array;
  readonly estimator: Estimator;
}

export interface VirtualService {
  readonly slot: number;
  readonly key: ServiceKey;
  settings: ServiceSettings;
  zero: Float64Array;
  readonly estimator: Estimator;
  /** In list order: newest first. */
  servers: RealServer[];
  /** In the order of adding. */
  readonly localAddresses: LocalAddress[];
}

/** What connections to FULLNAT servers come from. */
export interface LocalAddress {
  readonly slot: number;
  readonly address: string;
}

/** A removed server whose connections may live on. */
export interface TrashedServer {
  readonly service: ServiceKey;
  readonly server: RealServer;
  readonly sinceMs: number;
}

export function serviceId(key: ServiceKey): string {
  if (key.fwmark !== 0) return `fwmark ${key.fwmark} ${key.family}`;
  return `${key.protocol} ${addressAndPort(key)}`;
}
export function serverId(key: ServerKey): string {
  return addressAndPort(key);
}
function addressAndPort(key: ServerKey | ServiceKey): string {
  return key.family === 6 ? `[${key.address}]:${key.port}` : `${key.address}:${key.port}`;
}
