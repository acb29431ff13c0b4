/** Facts of a host on which nothing is wrong, as tests of `xvs doctor` change them. */
import type {
  DaemonFacts,
  DeviceFact,
  Facts,
  HostFacts,
  LinkFact,
  ServerSetup,
  ServiceSetup,
  Setup,
} from '#xvs/control/doctor/facts';
import type { DaemonState } from '#xvs/control/doctor/state';
import { NUD_REACHABLE } from '#xvs/control/netlink';
import { DROP_REASONS, PASS_REASONS } from '#xvs/table/counter';

export const VIP = '172.25.254.100';
export const SERVER = '192.168.0.10';
export const SERVER_MAC = '02:00:00:00:02:01';

export function link(name: string, changes: Partial<LinkFact> = {}): LinkFact {
  return {
    index: 2,
    name,
    kind: '',
    mtu: 1500,
    up: true,
    mac: '02:00:00:00:01:64',
    master: '',
    parent: '',
    xdp: 'native',
    ...changes,
  };
}

export function device(name: string, changes: Partial<DeviceFact> = {}): DeviceFact {
  return {
    name,
    driver: 'ice',
    rxQueues: 2,
    txQueues: 2,
    xdpFeatures: 0x2b,
    rings: { rx: 2048, rxMax: 8160 },
    rssShares: [64, 64],
    offloads: new Map([['large-receive-offload', false]]),
    numaNode: 0,
    interrupts: [{ number: 30, cpus: [0] }],
    ...changes,
  };
}

export function server(changes: Partial<ServerSetup> = {}): ServerSetup {
  return {
    family: 4,
    address: SERVER,
    port: 80,
    method: 'nat',
    weight: 1,
    tunnel: { type: 'ipip', port: 0, checksum: 'nocsum' },
    statistics: { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 },
    ...changes,
  };
}

export function service(
  servers: readonly ServerSetup[] = [server()],
  key: Partial<ServiceSetup['key']> = {},
): ServiceSetup {
  return {
    key: { family: 4, protocol: 'tcp', address: VIP, port: 80, fwmark: 0, ...key },
    servers,
    localAddresses: [],
  };
}

function socket(name: string, queue: number) {
  return { interface: name, queue, zeroCopy: true, busyPoll: true, counters: {} };
}

export function state(changes: Partial<DaemonState> = {}): DaemonState {
  const none = (reasons: readonly string[]) => Object.fromEntries(reasons.map((one) => [one, 0]));
  return {
    pid: 1,
    interfaces: [],
    workersWanted: { count: 'auto', cpus: [], mode: 'adaptive', warmUp: true },
    xdpModes: { eth0: 'native', eth1: 'native' },
    workers: [0, 1].map((cpu) => ({
      cpu,
      pinning: '',
      restarts: 0,
      chunks: 9216,
      freeChunks: 5000,
      sockets: [socket('eth0', cpu), socket('eth1', cpu)],
    })),
    tap: 'xvs1',
    connections: { capacity: 1000, entries: 10 },
    drops: none(DROP_REASONS),
    passes: none(PASS_REASONS),
    pathMtus: {},
    ...changes,
  };
}

export function daemon(changes: Partial<DaemonFacts> = {}): DaemonFacts {
  return {
    before: state(),
    after: state(),
    reversePathDropsBefore: 0,
    connections: new Map(),
    reachable: new Map(),
    ...changes,
  };
}

function host(): HostFacts {
  return {
    kernel: {
      release: '6.8.0',
      afXdp: true,
      txMetadata: true,
      preferBusyPoll: true,
      clockSource: 'tsc',
      lockedMemoryMax: null,
      mayLockMemory: true,
    },
    sysctls: new Map([
      ['net.ipv4.ip_forward', 1],
      ['net.ipv4.conf.all.rp_filter', 0],
      ['vm.overcommit_memory', 0],
    ]),
    links: [
      link('lo', { index: 1, xdp: 'none' }),
      link('eth0'),
      link('eth1', { index: 3, mac: '02:00:00:00:02:64' }),
      link('xvs1', { index: 4, kind: 'tun', xdp: 'none' }),
    ],
    addresses: [
      { address: '127.0.0.1', family: 4, prefixLength: 8, interface: 'lo' },
      { address: VIP, family: 4, prefixLength: 24, interface: 'eth0' },
      { address: '192.168.0.100', family: 4, prefixLength: 24, interface: 'eth1' },
    ],
    devices: [device('eth0'), device('eth1')],
    routes: new Map([[SERVER, { kind: 'unicast', interface: 'eth1', gateway: '', mtu: 0 }]]),
    neighbours: [{ address: SERVER, interface: 'eth1', state: NUD_REACHABLE, mac: SERVER_MAC }],
    claims: [],
    unmirrored: [],
    socketPeers: [],
    reversePathDrops: 0,
    kernelMarks: [],
    cpuNodes: new Map([
      [0, 0],
      [1, 0],
    ]),
  };
}

export interface FactChanges {
  readonly setup?: Partial<Setup>;
  readonly host?: Partial<HostFacts>;
  readonly daemon?: Partial<DaemonFacts> | null;
}

/** A NAT director with two interfaces and two workers; `changes` make it another. */
export function facts(changes: FactChanges = {}): Facts {
  const interfaces = ['eth0', 'eth1'].map(
    (name) => ({ name, xdp: 'auto', zeroCopy: 'auto' }) as const,
  );
  return {
    setup: {
      interfaces,
      workers: { count: 'auto', cpus: [], mode: 'adaptive' },
      services: [service()],
      marks: [],
      ...changes.setup,
    },
    host: { ...host(), ...changes.host },
    daemon: changes.daemon === null ? null : daemon(changes.daemon),
  };
}
