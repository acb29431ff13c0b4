/**
 * What tools and daemon say to each other over the admin socket: HTTP with JSON bodies on a Unix
 * socket. Types only, so that a command-line tool loads nothing for them.
 *
 *   GET  /v1/services?stats=1&rates=1        -> ServiceList
 *   GET  /v1/connections                     -> ConnectionList
 *   GET  /v1/timeouts                        -> Timeouts
 *   POST /v1/commands   Command              -> {} or, with status 4xx, ErrorBody
 */

export type AddressFamily = 4 | 6;
export type ProtocolName = 'tcp' | 'udp' | 'sctp';
export type ForwardingMethodName = 'nat' | 'local' | 'tunnel' | 'dr' | 'bypass' | 'fullnat';
export type TunnelTypeName = 'ipip' | 'gue' | 'gre';
export type TunnelChecksum = 'nocsum' | 'csum' | 'remcsum';

/** Which service: by address, or by firewall mark (fwmark > 0: protocol, address, port rest). */
export interface ServiceKey {
  readonly family: AddressFamily;
  readonly protocol: ProtocolName;
  /** Text of the address: "192.0.2.1", "2001:db8::1". "0.0.0.0" / "::" with a mark. */
  readonly address: string;
  readonly port: number;
  readonly fwmark: number;
}

/** ip_vs flags a service may carry. Bits as in IPVS: SCHED1 = fallback of sh/mh, SCHED2 = port. */
export interface ServiceSettings {
  readonly scheduler: string;
  /** Seconds; 0 = not persistent. */
  readonly persistentTimeout: number;
  /** IPv4: dotted mask; IPv6: prefix length as text. */
  readonly netmask: string;
  readonly onePacket: boolean;
  readonly schedulerFlags: readonly [boolean, boolean, boolean];
  readonly persistenceEngine: string; // '' = none
}

export interface ServerKey {
  readonly family: AddressFamily;
  readonly address: string;
  readonly port: number;
}

export interface ServerSettings {
  readonly method: ForwardingMethodName;
  readonly weight: number;
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  readonly tunnel: {
    readonly type: TunnelTypeName;
    readonly port: number;
    readonly checksum: TunnelChecksum;
  };
}

export type Command =
  | {
      readonly command: 'add-service' | 'edit-service';
      readonly service: ServiceKey;
      readonly settings: ServiceSettings;
    }
  | { readonly command: 'delete-service'; readonly service: ServiceKey }
  | {
      readonly command: 'add-server' | 'edit-server';
      readonly service: ServiceKey;
      readonly server: ServerKey;
      readonly settings: ServerSettings;
    }
  | { readonly command: 'delete-server'; readonly service: ServiceKey; readonly server: ServerKey }
  | { readonly command: 'flush' }
  | { readonly command: 'zero'; readonly service: ServiceKey | null }
  | { readonly command: 'set-timeouts'; readonly timeouts: Timeouts };

/** Seconds; in 'set-timeouts' 0 keeps the value. */
export interface Timeouts {
  readonly tcp: number;
  readonly tcpFin: number;
  readonly udp: number;
}

export interface Statistics {
  readonly connections: number;
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inBytes: number;
  readonly outBytes: number;
}

export interface ServerListing extends ServerKey, ServerSettings {
  readonly active: number;
  readonly inactive: number;
  readonly persistent: number;
  readonly overloaded: boolean;
  readonly statistics: Statistics;
  /** Per second: connections, packets, bytes. */
  readonly rates: Statistics;
}

/** Real servers in list order: newest first, as the scheduler walks them. */
export interface ServiceListing extends ServiceKey, ServiceSettings {
  readonly statistics: Statistics;
  readonly rates: Statistics;
  readonly servers: readonly ServerListing[];
}

export interface ServiceList {
  /** Hash buckets of the connection table, ipvsadm's "size=". */
  readonly connectionTableSize: number;
  /** In IPVS's hash-bucket order (what --nosort shows). */
  readonly services: readonly ServiceListing[];
}

export interface ConnectionListing {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'IP';
  readonly family: AddressFamily;
  readonly expiresSeconds: number;
  readonly state: string;
  readonly client: string;
  readonly clientPort: number;
  readonly virtual: string;
  readonly virtualPort: number;
  readonly real: string;
  readonly realPort: number;
}
export interface ConnectionList {
  readonly connections: readonly ConnectionListing[];
}

/** `errno` is what IPVS would have set: 'EEXIST', 'ENOENT', 'ESRCH', 'EINVAL', 'ERANGE' ... */
export interface ErrorBody {
  readonly code: string;
  readonly errno: string;
  readonly message: string;
}
