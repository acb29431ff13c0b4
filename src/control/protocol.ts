/**
 * What tools and daemon say to each other over the admin socket: HTTP with JSON bodies on a Unix
 * socket. Types only, so that a command-line tool loads nothing for them.
 *
 *   GET  /v1/services                        -> ServiceList; with brief=1 without numbers
 *   GET  /v1/connections?...                 -> ConnectionList, or ConnectionCounts with count=
 *   GET  /v1/timeouts                        -> Timeouts
 *   POST /v1/commands   Command              -> {}
 *   POST /v1/apply      PackedApplyRequest   -> ApplyResult
 *   GET  /v1/marks                           -> MarkList
 *   POST /v1/marks      MarkCommand          -> {}
 *   GET  /v1/doctor                          -> DaemonState (doctor/state.ts)
 *   GET  /v1/sysctl                          -> SysctlList
 *   POST /v1/sysctl     SysctlValues         -> {}
 *   POST /v1/trace      TraceRequest         -> lines of JSON, see trace/protocol.ts
 *   GET  /v1/overview?servers=               -> Overview (overview/protocol.ts)
 *
 * or, with status 4xx, ErrorBody.
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
  | {
      /** Of FULLNAT: what connections of the service to its real servers come from. */
      readonly command: 'add-local-address' | 'delete-local-address';
      readonly service: ServiceKey;
      readonly address: string;
    }
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
  /** These two are left out of a brief list. */
  readonly statistics: Statistics;
  /** Per second: connections, packets, bytes. */
  readonly rates: Statistics;
}

export interface LocalAddressListing {
  readonly address: string;
  /** How often it had no port free. */
  readonly conflicts: number;
  readonly connections: number;
}

/** Real servers in list order: newest first, as the scheduler walks them. */
export interface ServiceListing extends ServiceKey, ServiceSettings {
  readonly statistics: Statistics;
  readonly rates: Statistics;
  readonly servers: readonly ServerListing[];
  /** In the order of adding; left out when there are none. */
  readonly localAddresses?: readonly LocalAddressListing[];
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
  /** Since the connection, or the template, was made. */
  readonly ageSeconds: number;
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
  /** How many fit the query; more than are listed when it has a limit. */
  readonly total?: number;
}

export type ConnectionGroup = 'client' | 'service' | 'server' | 'state' | 'age';
export type ConnectionSortKey = ConnectionGroup | 'expires';

/** What a listing of connections may ask for, as the query of its request says it. */
export interface ConnectionQuery {
  /** "10.0.0.1" or "10.0.0.0/8", "2001:db8::1" or "2001:db8::/32". */
  readonly client?: string;
  /** "172.25.254.100:80", "[2001:db8::1]:80", or an address alone for every port. */
  readonly service?: string;
  readonly server?: string;
  readonly state?: string;
  /** Seconds until a connection expires, if no packet of it comes. */
  readonly expiresAfter?: number;
  readonly expiresWithin?: number;
  /** Seconds since it was made: at least so many; fewer than so many. */
  readonly older?: number;
  readonly younger?: number;
  readonly sort?: ConnectionSortKey;
  readonly reverse?: boolean;
  /** Most rows of the answer; 0: all. */
  readonly limit?: number;
  /** Counts instead of connections. */
  readonly count?: ConnectionGroup | 'all';
}

/** Connections that fit the query: all of them, and by group, the largest first. */
export interface ConnectionCounts {
  readonly total: number;
  readonly groups: readonly { readonly key: string; readonly connections: number }[];
}

export interface ServerSpec {
  readonly server: ServerKey;
  readonly settings: ServerSettings;
}
/** A service as a configuration wants it, servers in the order in which they are to be added. */
export interface ServiceSpec {
  readonly service: ServiceKey;
  readonly settings: ServiceSettings;
  readonly servers: readonly ServerSpec[];
  /** In the order of adding; left out when there are none. */
  readonly localAddresses?: readonly string[];
}

/** Settings that a running daemon cannot change, in their JSON text by key of the config file. */
export type StartupSettings = Readonly<Record<string, string>>;

/** All services there shall be; done whole or not at all. */
export interface ApplyRequest {
  readonly services: readonly ServiceSpec[];
  /** All mark rules there shall be; null keeps them, as a rules file does. */
  readonly marks: MarkList['rules'] | null;
  /** 0 keeps a value. */
  readonly timeouts: Timeouts;
  /** All that shall have these values; null keeps them, as a rules file does. */
  readonly sysctl: SysctlValues | null;
  /** To be told which of them differ; empty when the file has none. */
  readonly startup: StartupSettings;
  /** Only says what would be done. */
  readonly dryRun: boolean;
}

/**
 * An ApplyRequest as it is sent: of ten thousand services most have the same settings, which are
 * said once and named by their number, from 0.
 */
export interface PackedApplyRequest extends Omit<ApplyRequest, 'services'> {
  readonly serviceSettings: readonly ServiceSettings[];
  readonly serverSettings: readonly ServerSettings[];
  readonly services: readonly PackedService[];
}
export interface PackedService {
  readonly service: ServiceKey;
  readonly settings: number;
  /** Of each real server in the order of adding: address, port, number of its settings. */
  readonly addresses: readonly string[];
  readonly ports: readonly number[];
  readonly serverSettings: readonly number[];
  readonly localAddresses?: readonly string[];
}

export interface ChangeCounts {
  readonly added: number;
  readonly edited: number;
  readonly removed: number;
}

export interface ApplyResult {
  readonly services: ChangeCounts;
  readonly servers: ChangeCounts;
  /** Of FULLNAT; left out when none changed. */
  readonly localAddresses?: ChangeCounts;
  /** How many mark rules there are after it, null when they stay. */
  readonly marks: number | null;
  /** Timeouts after it, null when they stay. */
  readonly timeouts: Timeouts | null;
  /** Sysctls that changed, by name; null when none did. */
  readonly sysctl: SysctlValues | null;
  /** Keys of the config file whose change needs a restart. */
  readonly needsRestart: readonly string[];
  /** With `dryRun` only: what would be done, in order. */
  readonly plan: readonly Command[];
}

/**
 * A change of the firewall marks. `rules`: matches and target in iptables syntax, without command
 * and chain; one that is refused changes nothing of the others.
 */
export type MarkCommand =
  | {
      readonly operation: 'append' | 'delete';
      readonly family: AddressFamily;
      readonly rules: readonly string[];
    }
  | {
      readonly operation: 'insert';
      readonly family: AddressFamily;
      /** From 1. */
      readonly position: number;
      readonly rules: readonly string[];
    }
  | {
      readonly operation: 'delete-number';
      readonly family: AddressFamily;
      readonly number: number;
    }
  /** null: both families. */
  | { readonly operation: 'flush'; readonly family: AddressFamily | null };

/** IPVS's sysctls by name; see control/sysctl.ts. Done whole or not at all. */
export type SysctlValues = Readonly<Record<string, number>>;
export interface SysctlList {
  readonly values: SysctlValues;
}

/** Rules as `iptables -S` prints them, without command and chain, in order. */
export interface MarkList {
  readonly rules: readonly { readonly family: AddressFamily; readonly rule: string }[];
}

/** `errno` is what IPVS would have set: 'EEXIST', 'ENOENT', 'ESRCH', 'EINVAL', 'ERANGE' ... */
export interface ErrorBody {
  readonly code: string;
  readonly errno: string;
  readonly message: string;
}
