/**
 * What the checks of `xvs doctor` judge: the set-up that is wanted, the host as its kernel shows
 * it, and the daemon as it tells of itself. Gathered by gather*.ts, so that a check is a function
 * of facts.
 */
import type { InterfaceConfig } from '../config';
import type {
  AddressFamily,
  ForwardingMethodName,
  MarkList,
  ServerSettings,
  ServiceKey,
  Statistics,
} from '../protocol';
import type { DaemonState } from './state';

export interface ServerSetup {
  readonly family: AddressFamily;
  readonly address: string;
  readonly port: number;
  readonly method: ForwardingMethodName;
  readonly weight: number;
  readonly tunnel: ServerSettings['tunnel'];
  /** Of a running daemon. */
  readonly statistics?: Statistics;
}

export interface ServiceSetup {
  readonly key: ServiceKey;
  readonly servers: readonly ServerSetup[];
  readonly localAddresses: readonly string[];
}

/** What the daemon runs with, or the config file says. */
export interface Setup {
  readonly interfaces: readonly InterfaceConfig[];
  readonly workers: {
    readonly count: number | 'auto';
    readonly cpus: readonly number[];
    readonly mode: 'busy' | 'adaptive' | 'interrupt';
  };
  readonly services: readonly ServiceSetup[];
  readonly marks: MarkList['rules'];
}

/** A network interface of the host, served or not. */
export interface LinkFact {
  readonly index: number;
  readonly name: string;
  /** "veth", "bond", "vlan" ...; '' for hardware. */
  readonly kind: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly mac: string;
  /** Name of the bridge, bond or VRF it belongs to; '' = none. */
  readonly master: string;
  /** Name of the interface it stands on, if that is here; '' = none. */
  readonly parent: string;
  /** Of the XDP program attached to it. */
  readonly xdp: 'none' | 'native' | 'generic' | 'offloaded';
}

export interface AddressFact {
  readonly address: string;
  readonly family: AddressFamily;
  readonly prefixLength: number;
  readonly interface: string;
}

/** The way to an address, as the kernel's own look-up answers. */
export interface RouteFact {
  readonly kind: 'unicast' | 'local' | 'none';
  readonly interface: string;
  /** '' = on link. */
  readonly gateway: string;
  /** Of the route; 0 = the interface's. */
  readonly mtu: number;
}

export interface NeighbourFact {
  readonly address: string;
  readonly interface: string;
  /** NUD_* */
  readonly state: number;
  readonly mac: string;
}

export interface InterruptFact {
  readonly number: number;
  readonly cpus: readonly number[];
}

/** A served interface, as driver and sysfs tell. null: the kernel does not say. */
export interface DeviceFact {
  readonly name: string;
  readonly driver: string;
  readonly rxQueues: number;
  readonly txQueues: number;
  /** Bits NETDEV_XDP_ACT_* of the driver. */
  readonly xdpFeatures: number | null;
  readonly rings: { readonly rx: number; readonly rxMax: number } | null;
  /** How many entries of the RSS indirection table lead to each queue. */
  readonly rssShares: readonly number[] | null;
  /** Offloads by ethtool's names. */
  readonly offloads: ReadonlyMap<string, boolean>;
  readonly numaNode: number | null;
  readonly interrupts: readonly InterruptFact[];
}

/** Somebody else who answers for an address that is to be the director's. */
export interface ClaimFact {
  readonly address: string;
  readonly interface: string;
  readonly mac: string;
}

export interface KernelFact {
  readonly release: string;
  readonly afXdp: boolean;
  readonly txMetadata: boolean;
  readonly preferBusyPoll: boolean;
  readonly clockSource: string;
  /** Bytes; null = no limit. */
  readonly lockedMemoryMax: number | null;
  readonly mayLockMemory: boolean;
}

export interface HostFacts {
  readonly kernel: KernelFact;
  /** By full name, "net.ipv4.ip_forward"; what does not exist is left out. */
  readonly sysctls: ReadonlyMap<string, number>;
  readonly links: readonly LinkFact[];
  readonly addresses: readonly AddressFact[];
  /** Served interfaces that exist. */
  readonly devices: readonly DeviceFact[];
  /** By address, of every real server. */
  readonly routes: ReadonlyMap<string, RouteFact>;
  /** Next hops to real servers, after each was asked for. */
  readonly neighbours: readonly NeighbourFact[];
  readonly claims: readonly ClaimFact[];
  /** What of policy rules and routes xvs does not mirror. */
  readonly unmirrored: readonly string[];
  /** "tcp 192.0.2.1:80": far ends of the host's own sockets. */
  readonly socketPeers: readonly string[];
  /** Packets that the reverse path filter dropped, since the host started. */
  readonly reversePathDrops: number;
  /** Mark rules of the kernel; null: there is no tool to ask it with. */
  readonly kernelMarks: MarkList['rules'] | null;
  /** NUMA node by CPU. */
  readonly cpuNodes: ReadonlyMap<number, number>;
}

/** How connections to one real server stand, of which some wait for its answer. */
export interface ServerConnections {
  /** In state SYN_RECV for some seconds. */
  readonly waiting: number;
  /** Made since the first of those, and in a later state. */
  readonly progressed: number;
}

export interface DaemonFacts {
  /** Two samples, some seconds apart. */
  readonly before: DaemonState;
  readonly after: DaemonState;
  readonly reversePathDropsBefore: number;
  /** By "ADDRESS:PORT" of the real server. */
  readonly connections: ReadonlyMap<string, ServerConnections>;
  /** Whether a real server took a TCP connection of the director's own; asked where in doubt. */
  readonly reachable: ReadonlyMap<string, boolean>;
}

export interface Facts {
  readonly setup: Setup;
  readonly host: HostFacts;
  /** null: none is running, or none was asked. */
  readonly daemon: DaemonFacts | null;
}
