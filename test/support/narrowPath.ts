/**
 * A path with two links that can be made narrow, one on each side of the director, real hosts and
 * routers everywhere. Every cable is a network of its own, numbered from the left:
 *
 *   client --1-- r1 --2-- r2 --3-- director --4-- r3 --5-- r4 --6-- rs1
 *      \_____________________________7 (tunnels)____________/
 *
 * With direct routing r2, the director and rs1 stand on one switch instead (network 3).
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Director, executable } from '#xvs/lab/director';
import type { Namespace } from '#xvs/lab/namespace';
import { eventually } from '#xvs/lab/process';
import { Topology } from '#xvs/lab/topology';
import { literal, startWebServer, type WebServer } from '#xvs/lab/webServer';
import type { Family, Method } from './matrix';

const SYSCTLS: Readonly<Record<string, number>> = {
  'net.ipv6.conf.all.disable_ipv6': 0,
  'net.ipv6.conf.default.disable_ipv6': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
};
const FORWARDING = { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 };
const STARTED_TIMEOUT_MS = 10_000;
export const WEB_PORT = 80;
/** A service on it has a server on whose port nobody listens. */
export const CLOSED_PORT = 9;

export interface NarrowPath {
  readonly topology: Topology;
  readonly client: Namespace;
  readonly server: WebServer;
  readonly director: Director;
  readonly vip: string;
  /** "http://VIP/" */
  readonly url: string;
  /** Whom the server answers: the client, or a local address. */
  readonly peer: string;
  /** Makes the link between r1 and r2 narrow, or that between r3 and r4. */
  narrow(side: 'front' | 'behind', mtu: number): void;
  /** What a host has learned of its path to an address: its MTU, 0 = nothing. */
  learned(host: Namespace, address: string): number;
  close(): void;
}

/** Host `host` of network `network`. */
function at(family: Family, network: number, host: number): string {
  return family === 4 ? `10.0.${network}.${host}` : `fd00:${network}::${host}`;
}
function prefix(family: Family, network: number): string {
  return family === 4 ? `10.0.${network}.0/24` : `fd00:${network}::/64`;
}

class Builder {
  readonly topology = new Topology();
  readonly family: Family;
  readonly hosts: Record<string, Namespace> = {};

  constructor(family: Family) {
    this.family = family;
  }

  host(name: string): Namespace {
    const known = this.hosts[name];
    if (known !== undefined) return known;
    const host = this.topology.host(name);
    host.sysctl({ ...SYSCTLS, ...(name.startsWith('r') && name !== 'rs1' ? FORWARDING : {}) });
    this.hosts[name] = host;
    return host;
  }

  address(name: string, device: string, network: number, number: number): void {
    const { family } = this;
    const bits = family === 4 ? 24 : 64;
    const words = family === 4 ? [] : ['nodad'];
    const text = `${at(family, network, number)}/${bits}`;
    this.host(name).ip('address', 'add', text, 'dev', device, ...words);
  }

  /** Host 1 of the network on the left, host 2 on the right. */
  cable(network: number, left: [string, string], right: [string, string]): void {
    this.topology.cable(
      { host: this.host(left[0]), interface: left[1] },
      { host: this.host(right[0]), interface: right[1] },
    );
    this.address(left[0], left[1], network, 1);
    this.address(right[0], right[1], network, 2);
  }

  /** Networks, or 'default', are reached through host `number` of `network`. */
  route(name: string, via: readonly [number, number], ...targets: (number | 'default')[]): void {
    for (const target of targets) {
      const words = target === 'default' ? target : prefix(this.family, target);
      this.host(name).route(words, at(this.family, ...via));
    }
  }
}

function buildFront(builder: Builder, vip: string): void {
  builder.cable(1, ['client', 'eth0'], ['r1', 'left']);
  builder.cable(2, ['r1', 'right'], ['r2', 'left']);
  builder.route('client', [1, 2], 'default');
  builder.route('r1', [2, 2], 'default');
  builder.route('r2', [2, 1], 1);
  builder.host('r2').sysctl({ 'net.ipv4.conf.all.send_redirects': 0 });
  builder.host('director').ip('address', 'add', vip, 'dev', 'lo');
}

/** r2, director and server on one switch: hosts 1, 2 and 3 of network 3. */
function buildSwitched(builder: Builder): void {
  const { topology } = builder;
  const middle = builder.host('switch');
  topology.bridge(middle, 'bridge');
  for (const [number, name, device] of [
    [1, 'r2', 'right'],
    [2, 'director', 'eth0'],
    [3, 'rs1', 'eth0'],
  ] as const) {
    const port = `port${number}`;
    topology.cable(
      { host: builder.host(name), interface: device },
      { host: middle, interface: port },
    );
    topology.plug(middle, 'bridge', port);
    if (name === 'rs1') {
      builder.host(name).sysctl({
        'net.ipv4.conf.all.arp_ignore': 1,
        'net.ipv4.conf.all.arp_announce': 2,
      });
    }
    builder.address(name, device, 3, number);
  }
  builder.route('r2', [3, 2], 'default');
  for (const name of ['director', 'rs1']) builder.route(name, [3, 1], 'default');
}

function buildRouted(builder: Builder, method: Method): void {
  builder.cable(3, ['r2', 'right'], ['director', 'eth0']);
  builder.cable(4, ['director', 'eth1'], ['r3', 'left']);
  builder.cable(5, ['r3', 'right'], ['r4', 'left']);
  builder.cable(6, ['r4', 'right'], ['rs1', 'eth0']);
  builder.route('r2', [3, 2], 'default');
  builder.route('director', [3, 1], 1, 2);
  builder.route('director', [4, 2], 5, 6);
  builder.route('r3', [4, 1], 'default');
  builder.route('r3', [5, 2], 6);
  builder.route('r4', [5, 1], 'default');
  builder.route('rs1', [6, 1], 'default');
  if (method !== 'tunnel') return;
  builder.cable(7, ['client', 'eth1'], ['r4', 'back']);
  builder.route('r4', [7, 1], 1);
}

async function startDecap(topology: Topology, where: Namespace, vip: string): Promise<void> {
  const words = ['decap', 'eth0', '--vip', vip];
  topology.spawn(where, [process.execPath, executable('xvs'), ...words], 'decap.log');
  const file = join(topology.directory, 'decap.log');
  const inPlace = () => existsSync(file) && readFileSync(file, 'utf8').includes('eth0');
  if (!(await eventually(inPlace, STARTED_TIMEOUT_MS))) {
    throw new Error(`xvs ${words.join(' ')} does not start`);
  }
}

function rules(method: Method, vip: string, server: string, local: string): string[][] {
  const how = { nat: '-m', dr: '-g', tunnel: '-i', fullnat: '--fullnat' }[method];
  return [['-t', WEB_PORT] as const, ['-u', CLOSED_PORT] as const].flatMap(([protocol, port]) => {
    const service = [protocol, `${literal(vip)}:${port}`];
    return [
      ['-A', ...service, '-s', 'rr'],
      ...(method === 'fullnat' ? [['--add-laddr', ...service, '-z', local]] : []),
      ['-a', ...service, '-r', `${literal(server)}:${port}`, how],
    ];
  });
}

export async function startNarrowPath(method: Method, family: Family): Promise<NarrowPath> {
  const builder = new Builder(family);
  const { topology } = builder;
  const vip = family === 4 ? '198.51.100.10' : 'fd00:100::10';
  const hostBits = family === 4 ? 32 : 128;
  const isSwitched = method === 'dr';
  const local = at(family, 4, 77);
  const own = isSwitched ? at(family, 3, 3) : at(family, 6, 2);
  try {
    buildFront(builder, `${vip}/${hostBits}`);
    if (isSwitched) buildSwitched(builder);
    else buildRouted(builder, method);
    const [client, rs1, directorHost] = ['client', 'rs1', 'director'].map((name) =>
      builder.host(name),
    ) as [Namespace, Namespace, Namespace];
    const hasVip = isSwitched || method === 'tunnel';
    if (hasVip) rs1.ip('address', 'add', `${vip}/${hostBits}`, 'dev', 'lo');
    if (method === 'tunnel') await startDecap(topology, rs1, vip);
    if (method === 'fullnat') {
      const bits = family === 4 ? 24 : 64;
      directorHost.ip('address', 'add', `${local}/${bits}`, 'dev', 'eth1');
    }
    const alsoOn = hasVip ? [vip] : [];
    const server = await startWebServer(topology, rs1, 'webserver1', own, { alsoOn });
    const interfaces = isSwitched ? ['eth0'] : ['eth0', 'eth1'];
    const director = new Director(topology, directorHost, {
      interfaces: interfaces.map((name) => ({ name })),
    });
    await director.start();
    for (const rule of rules(method, vip, own, local)) {
      const said = await director.xvsadm(rule);
      if (said.status !== 0) throw new Error(`xvsadm ${rule.join(' ')}: ${said.stderr}`);
    }
    const ends = { front: ['r1', 'r2'], behind: ['r3', 'r4'] } as const;
    return {
      topology,
      client,
      server,
      director,
      vip,
      url: `http://${literal(vip)}/`,
      peer: method === 'fullnat' ? local : at(family, 1, 1),
      narrow(side, mtu) {
        const [left, right] = ends[side];
        builder.host(left).ip('link', 'set', 'right', 'mtu', `${mtu}`);
        builder.host(right).ip('link', 'set', 'left', 'mtu', `${mtu}`);
      },
      learned(host, address) {
        return Number(/ mtu (?:lock )?(\d+)/.exec(host.ip('route', 'get', address))?.[1] ?? 0);
      },
      close: () => topology.close(),
    };
  } catch (error) {
    topology.close();
    throw error;
  }
}
