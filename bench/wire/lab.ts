/**
 * Hosts and cables of the benches wire and latency:
 *
 *   client namespace        director namespace            server namespace
 *   generator -> [client] ====> [front]  contender  [back] ====> [server] -> sink (XDP, drops)
 *
 * All receive threads are pinned to the contender's CPU: what the generator's CPU does is then the
 * generator's alone.
 */
import type { Namespace } from '#xvs/lab/namespace';
import type { Child } from '../support/child';
import { type End, VethLab } from '../support/vethLab';
import { ADDRESSES, type Family, type LabSettings, type Receive } from './settings';

const ENDS = ['client', 'front', 'back', 'server'] as const;
export type EndName = (typeof ENDS)[number];
const FAMILIES = [4, 6] as const;
/** Of the servers' side: room for a tunnel's outer header, IPv6's, before 1,500 bytes. */
const SERVERS_MTU = 1540;
/** The clients' side. */
const CLIENT_NETWORKS: Readonly<Record<Family, string>> = {
  4: '198.18.0.0/16',
  6: '2001:2:0:1::/64',
};
/** Flows that have one source address, as the generator counts them. */
const PORTS_PER_ADDRESS = 60_000;

/** The first one ends in .0 or :100, and a million flows have seventeen. */
function flowAddress(family: Family, number: number): string {
  const { flows } = ADDRESSES[family];
  const last = /[^.:]+$/.exec(flows)?.[0] ?? '';
  const base = family === 4 ? 10 : 16;
  const next = (Number.parseInt(last, base) + number).toString(base);
  return `${flows.slice(0, -last.length)}${next}`;
}

/** Does this end stand for the wire, and not for the director? */
function isWire(name: EndName): boolean {
  return name === 'client' || name === 'server';
}

export class WireLab extends VethLab {
  readonly settings: LabSettings;
  readonly ends: Readonly<Record<EndName, End>>;

  constructor(settings: LabSettings) {
    super();
    this.settings = settings;
    const [client, director, server] = ['client', 'director', 'server'].map((name) =>
      this.addHost(name),
    ) as [Namespace, Namespace, Namespace];
    const [clientEnd, front] = this.addCable([client, 'client'], [director, 'front']);
    const [back, serverEnd] = this.addCable([director, 'back'], [server, 'server']);
    this.ends = { client: clientEnd, front, back, server: serverEnd };
    director.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    for (const { host, interface: device } of [back, serverEnd]) {
      host.ip('link', 'set', device, 'mtu', `${SERVERS_MTU}`);
    }
    for (const family of FAMILIES) this.#address(family);
    for (const name of ENDS) this.raise(this.ends[name], 'tso', 'off', 'gso', 'off');
    for (const family of FAMILIES) this.#connect(family);
  }

  #address(family: Family): void {
    const { virtual, client, director, server, prefixLength } = ADDRESSES[family];
    const addresses: Record<EndName, string> = { client, front: virtual, back: director, server };
    const words = family === 6 ? ['nodad'] : [];
    for (const name of ENDS) {
      const { host, interface: device } = this.ends[name];
      const address = `${addresses[name]}/${prefixLength}`;
      host.ip('address', 'add', address, 'dev', device, ...words);
    }
  }

  /** Neighbours and routes: nobody has to ask for anything. */
  #connect(family: Family): void {
    const { client: clientAddress, director, server: serverAddress } = ADDRESSES[family];
    const { back, front, server, client } = this.ends;
    this.introduce(back, serverAddress, server.mac);
    this.introduce(front, clientAddress, client.mac);
    this.introduce(server, director, back.mac);
    server.host.route(CLIENT_NETWORKS[family], director);
    // What comes back is for a flow's address, which nobody has.
    const ranges = Math.ceil(this.settings.flows / PORTS_PER_ADDRESS);
    for (let number = 0; number < ranges; number++) {
      this.introduce(front, flowAddress(family, number), client.mac);
    }
  }

  /**
   * Pins the kernel threads that do the receive work of the lab's interfaces, one an interface, to
   * the contender's CPU, and says when they run there.
   *
   * `first`: before all else (SCHED_FIFO), as the interrupt work that they stand for does on a NIC.
   * `fair`: as an equal of the contender's own threads, as the kernel has it once interrupt work
   * overloads a CPU (ksoftirqd); for floods, in which it would leave nothing to the contender.
   *
   * Those of the two ends that stand for the wire are always first, and before the contender's: a
   * wire takes every frame at once. As an equal among others the sink's would fill up whenever a
   * contender does not yield.
   */
  pinReceiveThreads(order: Receive): number[] {
    const ofDirector = order === 'first' ? 1 : 'fair';
    return ENDS.map((name) => {
      const { contenderCpu } = this.settings;
      return this.pinReceiveThread(this.ends[name], contenderCpu, isWire(name) ? 2 : ofDirector);
    });
  }

  /** See VethLab.checkReceiveThread. */
  checkReceiveThreads(): void {
    for (const name of ENDS) this.checkReceiveThread(this.ends[name], this.settings.contenderCpu);
  }

  /** Starts a process in a host, on one of the two CPUs, before what else runs there. */
  spawn(
    end: EndName,
    cpu: 'generatorCpu' | 'contenderCpu',
    name: string,
    command: readonly string[],
  ): Child {
    return this.start(this.ends[end].host, this.settings[cpu], name, command);
  }
}
