/**
 * Hosts and cables of the bench tcp:
 *
 *   client namespace        director namespace            server namespace
 *   generator -- [client] ====== [front] director [back] ====== [server] -- nginx
 *             -- [home]  ======================================= [past]
 *
 * The second cable is for the replies of direct routing, which go past the director: what a real
 * server sends from the VIP leaves by it, all else by the director.
 *
 * Receive threads are pinned to the CPU of the host that their end belongs to: the director's CPU
 * does all that the director does, and nothing else.
 */
import type { Namespace } from '#xvs/lab/namespace';
import { commandSync } from '#xvs/lab/process';
import type { Child } from '../support/child';
import { type End, VethLab } from '../support/vethLab';
import { ADDRESSES } from '../wire/settings';
import type { LabSettings, Offloads } from './settings';

const ENDS = ['client', 'front', 'back', 'server', 'home', 'past'] as const;
export type EndName = (typeof ENDS)[number];
interface Features {
  /** Large segments on the cables. */
  readonly tso: 'on' | 'off';
  /** The stack hands on large segments, to be cut at the cable's end where tso is off. */
  readonly gso: 'on' | 'off';
  /** What a receiver joins at most: no more than a frame means never. */
  readonly joinedMost: number;
}
const FEATURES: Readonly<Record<Offloads, Features>> = {
  tso: { tso: 'on', gso: 'on', joinedMost: 65_536 },
  gro: { tso: 'off', gso: 'on', joinedMost: 65_536 },
  off: { tso: 'off', gso: 'off', joinedMost: 1500 },
};
const CLIENT_NETWORK = '198.18.0.0/16';
/** Of what the server sends from the VIP. */
const REPLIES_TABLE = '100';
/** Replies come by another cable than requests go; many connections, one after another. */
const HOST: Readonly<Record<string, number>> = {
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
  'net.core.somaxconn': 16_384,
  'net.ipv4.tcp_max_syn_backlog': 16_384,
};
const ALL_PORTS = 'net.ipv4.ip_local_port_range=1024 65535';

/** The part of it that matters for who does what on which CPU. */
export type CpuRole = keyof LabSettings;
const ROLES: Readonly<Record<EndName, CpuRole>> = {
  client: 'generatorCpu',
  home: 'generatorCpu',
  server: 'serverCpu',
  past: 'serverCpu',
  front: 'contenderCpu',
  back: 'contenderCpu',
};

/** As sysfs takes it: 32 bits in each word. */
function cpuMask(cpu: number): string {
  return `${(2 ** (cpu % 32)).toString(16)}${',00000000'.repeat(Math.floor(cpu / 32))}`;
}

export class TcpLab extends VethLab {
  readonly settings: LabSettings;
  readonly ends: Readonly<Record<EndName, End>>;

  constructor(settings: LabSettings) {
    super();
    this.settings = settings;
    const [client, director, server] = ['client', 'director', 'server'].map((name) => {
      const host = this.addHost(name);
      host.sysctl(HOST);
      commandSync(host.inside(['sysctl', '-q', '-w', ALL_PORTS]));
      return host;
    }) as [Namespace, Namespace, Namespace];
    director.sysctl({ 'net.ipv4.ip_forward': 1 });
    const [clientEnd, front] = this.addCable([client, 'client'], [director, 'front']);
    const [back, serverEnd] = this.addCable([director, 'back'], [server, 'server']);
    const [home, past] = this.addCable([client, 'home'], [server, 'past']);
    this.ends = { client: clientEnd, front, back, server: serverEnd, home, past };
    this.#address();
    for (const name of ENDS) this.raise(this.ends[name]);
    this.setOffloads('gro');
    this.#connect();
  }

  #address(): void {
    const { virtual, client, director, server, local, prefixLength } = ADDRESSES[4];
    const give = ({ host, interface: device }: End, address: string) =>
      host.ip('address', 'add', address, 'dev', device);
    give(this.ends.client, `${client}/${prefixLength}`);
    give(this.ends.front, `${virtual}/${prefixLength}`);
    give(this.ends.back, `${director}/${prefixLength}`);
    give(this.ends.server, `${server}/${prefixLength}`);
    for (const address of local) give(this.ends.back, `${address}/32`);
    this.ends.server.host.ip('address', 'add', `${virtual}/32`, 'dev', 'lo');
  }

  /** Neighbours and routes: nobody has to ask for anything. */
  #connect(): void {
    const { virtual, client, director, server, local } = ADDRESSES[4];
    const ends = this.ends;
    this.introduce(ends.client, virtual, ends.front.mac);
    this.introduce(ends.front, client, ends.client.mac);
    this.introduce(ends.back, server, ends.server.mac);
    for (const address of [director, ...local]) {
      this.introduce(ends.server, address, ends.back.mac);
    }
    this.introduce(ends.past, client, ends.home.mac);
    const { host } = ends.server;
    host.route(CLIENT_NETWORK, director);
    host.ip('rule', 'add', 'from', virtual, 'lookup', REPLIES_TABLE);
    const route = ['route', 'add', CLIENT_NETWORK, 'dev', ends.past.interface];
    host.ip(...route, 'table', REPLIES_TABLE);
  }

  /**
   * Where tso is on, veth leaves receive work to the sender's CPU, not to the end's thread: it is
   * sent to the right CPU (RPS) and done there in softirq.
   */
  setOffloads(offloads: Offloads): void {
    const { tso, gso, joinedMost } = FEATURES[offloads];
    for (const name of ENDS) {
      const { host, interface: device } = this.ends[name];
      commandSync(host.inside(['ethtool', '-K', device, 'tso', tso, 'gso', gso]));
      host.ip('link', 'set', device, 'gro_max_size', String(joinedMost));
      const cpus = tso === 'on' ? cpuMask(this.settings[ROLES[name]]) : '0';
      const file = `/sys/class/net/${device}/queues/rx-0/rps_cpus`;
      commandSync(host.inside(['sh', '-c', `echo ${cpus} > ${file}`]));
    }
  }

  /**
   * Returns the pids of each role's receive threads: they run before all else there, as the
   * interrupt work that they stand for does on a NIC.
   */
  pinReceiveThreads(): Record<CpuRole, number[]> {
    const pids: Record<CpuRole, number[]> = { generatorCpu: [], serverCpu: [], contenderCpu: [] };
    for (const name of ENDS) {
      const role = ROLES[name];
      pids[role].push(this.pinReceiveThread(this.ends[name], this.settings[role], 1));
    }
    return pids;
  }

  /** See VethLab.checkReceiveThread. */
  checkReceiveThreads(): void {
    for (const name of ENDS) {
      this.checkReceiveThread(this.ends[name], this.settings[ROLES[name]]);
    }
  }

  /** Starts a process in a host, on the CPU of a role. */
  spawn(end: EndName, cpu: CpuRole, name: string, command: readonly string[]): Child {
    return this.start(this.ends[end].host, this.settings[cpu], name, command);
  }
}
