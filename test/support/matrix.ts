/**
 * One set of hosts for every forwarding method and either family, real sockets and programs
 * everywhere. The client has a second way in, by which answers come that pass the director by.
 *
 *   client eth0 10.0.1.100, fd00:1::100      client eth1 10.0.2.254, fd00:2::254
 *     |                                        |
 *   director eth0 10.0.1.1, fd00:1::1          |
 *   director eth1 10.0.2.1, fd00:2::1 -----  switch  ----- rs1 10.0.2.11, fd00:2::11
 *                                                    `---- rs2 10.0.2.12, fd00:2::12
 *
 * The VIP is routed to the director. Servers' gateway: the director with NAT, the client's second
 * interface with direct routing and tunnels, nobody with FULLNAT, where they see local addresses of
 * the director only. Both families can have the same hosts and the same daemon.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Director, executable, WARMED_UP } from '#xvs/lab/director';
import type { Namespace } from '#xvs/lab/namespace';
import { eventually } from '#xvs/lab/process';
import { Topology } from '#xvs/lab/topology';
import { literal, startWebServer, type WebServer } from '#xvs/lab/webServer';
import { Deoptimisations } from './deoptimisations';

export type Method = 'nat' | 'dr' | 'tunnel' | 'fullnat';
export const METHODS: readonly Method[] = ['nat', 'dr', 'tunnel', 'fullnat'];
export type Family = 4 | 6;
export const FAMILIES: readonly Family[] = [4, 6];

export const WEB_PORT = 80;
export const ECHO_PORT = 7007;
/** No server listens here. */
export const CLOSED_PORT = 9;

interface Addresses {
  readonly vip: string;
  readonly client: string;
  readonly clientBehind: string;
  readonly directorClientSide: string;
  readonly directorServerSide: string;
  readonly local: readonly [string, string];
  readonly servers: readonly [string, string];
  readonly prefixLength: number;
  readonly hostPrefix: number;
}

const ADDRESSES: Readonly<Record<Family, Addresses>> = {
  4: {
    vip: '198.51.100.10',
    client: '10.0.1.100',
    clientBehind: '10.0.2.254',
    directorClientSide: '10.0.1.1',
    directorServerSide: '10.0.2.1',
    local: ['10.0.2.101', '10.0.2.102'],
    servers: ['10.0.2.11', '10.0.2.12'],
    prefixLength: 24,
    hostPrefix: 32,
  },
  6: {
    vip: 'fd00:100::10',
    client: 'fd00:1::100',
    clientBehind: 'fd00:2::254',
    directorClientSide: 'fd00:1::1',
    directorServerSide: 'fd00:2::1',
    local: ['fd00:2::101', 'fd00:2::102'],
    servers: ['fd00:2::11', 'fd00:2::12'],
    prefixLength: 64,
    hostPrefix: 128,
  },
};

/** Room for the outer header of a tunnel on the servers' side. */
const TUNNEL_MTU = 1600;
/**
 * IPv6 addresses are usable at once, and nothing but what is configured takes part. Linux gives a
 * datagram up when more than 64 fragments of others from its source came between two of its own,
 * and from the VIP come those of two servers, in bursts.
 */
const SYSCTLS: Readonly<Record<string, number>> = {
  'net.ipv6.conf.all.accept_dad': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.all.disable_ipv6': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
  'net.ipv4.ipfrag_max_dist': 0,
};
const STARTED_TIMEOUT_MS = 10_000;
const TEST_DIRECTORY = resolve(__dirname, '..', 'e2e');

interface HostsOptions {
  readonly method: Method;
  readonly families: readonly Family[];
  /** Of the tunnel: more words of `xvsadm -a`. */
  readonly tunnel?: readonly string[];
  /** Of the director's two interfaces and their far ends. */
  readonly queues?: number;
  /** Workers have all their code compiled before they begin. */
  readonly isWarmedUp?: boolean;
}

export interface MatrixOptions extends Omit<HostsOptions, 'families'> {
  readonly family: Family;
}

export interface Matrix {
  readonly topology: Topology;
  readonly client: Namespace;
  readonly director: Director;
  readonly servers: readonly WebServer[];
  readonly addresses: Addresses;
  /** "http://VIP/" */
  readonly url: string;
  /** Of the daemon, since it was ready. */
  readonly deoptimisations: Deoptimisations;
  /** Ends all, also those of the other family. */
  close(): void;
}

function host(topology: Topology, name: string): Namespace {
  const namespace = topology.host(name);
  namespace.sysctl(SYSCTLS);
  return namespace;
}

function address(where: Namespace, interfaceName: string, text: string, prefix: number): void {
  const words = text.includes(':') ? ['nodad'] : [];
  where.ip('address', 'add', `${text}/${prefix}`, 'dev', interfaceName, ...words);
}

/** Starts a script of test/e2e in a host and waits until it has written its "ready" file. */
async function startScript(
  topology: Topology,
  where: Namespace,
  script: string,
  words: readonly string[],
): Promise<void> {
  const name = [where.name, script, ...words].join('-').replaceAll(':', '_');
  const ready = join(topology.directory, name);
  const command = [process.execPath, join(TEST_DIRECTORY, script), ...words, ready];
  topology.spawn(where, command, `${name}.log`);
  if (!(await eventually(() => existsSync(ready), STARTED_TIMEOUT_MS))) {
    throw new Error(`${where.name}: ${script} ${words.join(' ')} does not start`);
  }
}

/** What takes a tunnel's outer headers off, on a real server. */
async function startDecap(
  topology: Topology,
  where: Namespace,
  vips: readonly string[],
): Promise<void> {
  const log = `${where.name}-decap.log`;
  const words = ['decap', 'eth0', ...vips.flatMap((vip) => ['--vip', vip])];
  topology.spawn(where, [process.execPath, executable('xvs'), ...words], log);
  const file = join(topology.directory, log);
  const inPlace = () => existsSync(file) && readFileSync(file, 'utf8').includes('eth0');
  if (!(await eventually(inPlace, STARTED_TIMEOUT_MS))) {
    throw new Error(`${where.name}: xvs ${words.join(' ')} does not start`);
  }
}

/** A web server and an echo service on all its addresses. */
async function startServer(
  topology: Topology,
  where: Namespace,
  number: number,
  { method, families }: HostsOptions,
): Promise<WebServer> {
  const hasVip = method === 'dr' || method === 'tunnel';
  where.sysctl({ 'net.ipv4.conf.all.arp_ignore': 1, 'net.ipv4.conf.all.arp_announce': 2 });
  const places = families.map((family) => ADDRESSES[family]);
  for (const addresses of places) {
    address(where, 'eth0', addresses.servers[number]!, addresses.prefixLength);
    if (hasVip) address(where, 'lo', addresses.vip, addresses.hostPrefix);
    if (method === 'nat') where.route('default', addresses.directorServerSide);
    if (hasVip) where.route('default', addresses.clientBehind);
  }
  const vips = places.map(({ vip }) => vip);
  const own = places.map(({ servers }) => servers[number]!);
  if (method === 'tunnel') await startDecap(topology, where, vips);
  for (const listen of hasVip ? vips : own) {
    await startScript(topology, where, 'udpEchoServer.js', [listen, `${ECHO_PORT}`]);
  }
  const alsoOn = [...own.slice(1), ...(hasVip ? vips : [])];
  return startWebServer(topology, where, `webserver${number + 1}`, own[0]!, { alsoOn });
}

function rules({ method, tunnel = [] }: HostsOptions, family: Family): string[][] {
  const { vip, servers, local } = ADDRESSES[family];
  const how = {
    nat: ['-m'],
    dr: ['-g'],
    tunnel: ['-i', ...tunnel],
    fullnat: ['--fullnat'],
  }[method];
  return [
    ['-t', WEB_PORT] as const,
    ['-u', ECHO_PORT] as const,
    ['-u', CLOSED_PORT] as const,
  ].flatMap(([protocol, port]) => {
    const service = [protocol, `${literal(vip)}:${port}`];
    return [
      ['-A', ...service, '-s', 'rr'],
      ...(method === 'fullnat' ? local.map((own) => ['--add-laddr', ...service, '-z', own]) : []),
      ...servers.map((own) => ['-a', ...service, '-r', `${literal(own)}:${port}`, ...how]),
    ];
  });
}

interface Hosts {
  readonly client: Namespace;
  readonly director: Namespace;
  readonly servers: readonly Namespace[];
}

/** Hosts and cables, without addresses. */
function layCables(topology: Topology, options: HostsOptions): Hosts {
  const queues = options.queues === undefined ? {} : { queues: options.queues };
  const client = host(topology, 'client');
  const director = host(topology, 'director');
  const switchHost = host(topology, 'switch');
  const servers = ['rs1', 'rs2'].map((name) => host(topology, name));
  topology.bridge(switchHost, 'bridge');
  topology.cable(
    { host: client, interface: 'eth0', ...queues },
    { host: director, interface: 'eth0', ...queues },
  );
  const behind = [
    { host: director, interface: 'eth1', port: 'director', ...queues },
    { host: client, interface: 'eth1', port: 'client' },
    { host: servers[0]!, interface: 'eth0', port: 'rs1' },
    { host: servers[1]!, interface: 'eth0', port: 'rs2' },
  ];
  for (const { port, ...end } of behind) {
    topology.cable(end, { host: switchHost, interface: port, ...queues });
    topology.plug(switchHost, 'bridge', port);
    if (options.method !== 'tunnel') continue;
    for (const [where, name] of [
      [end.host, end.interface],
      [switchHost, port],
    ] as const) {
      where.ip('link', 'set', name, 'mtu', `${TUNNEL_MTU}`);
    }
  }
  return { client, director, servers };
}

/** Addresses of all hosts but the servers. */
function giveAddresses({ client, director }: Hosts, method: Method, family: Family): void {
  const addresses = ADDRESSES[family];
  const { vip, prefixLength, hostPrefix } = addresses;
  address(client, 'eth0', addresses.client, prefixLength);
  client.route(`${vip}/${hostPrefix}`, addresses.directorClientSide);
  if (method !== 'nat') address(client, 'eth1', addresses.clientBehind, prefixLength);
  address(director, 'eth0', addresses.directorClientSide, prefixLength);
  address(director, 'eth1', addresses.directorServerSide, prefixLength);
  address(director, 'lo', vip, hostPrefix);
  if (method !== 'fullnat') return;
  for (const own of addresses.local) address(director, 'eth1', own, prefixLength);
}

/**
 * Hosts, servers, daemon and rules: a web service, an echo service, one that nobody serves. A
 * matrix for each family, all on the same hosts.
 */
export async function startMatrices(options: HostsOptions): Promise<Matrix[]> {
  const topology = new Topology();
  try {
    const hosts = layCables(topology, options);
    for (const family of options.families) giveAddresses(hosts, options.method, family);
    hosts.director.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    const servers = await Promise.all(
      hosts.servers.map((where, number) => startServer(topology, where, number, options)),
    );
    const deoptimisations = new Deoptimisations(topology.directory);
    const interfaces = [{ name: 'eth0' }, { name: 'eth1' }];
    const { flags } = deoptimisations;
    const workers = options.isWarmedUp ? WARMED_UP : {};
    const director = new Director(topology, hosts.director, { interfaces, workers }, flags);
    await director.start();
    deoptimisations.begin(options.queues ?? 1);
    for (const rule of options.families.flatMap((family) => rules(options, family))) {
      const said = await director.xvsadm(rule.map(String));
      if (said.status !== 0) throw new Error(`xvsadm ${rule.join(' ')}: ${said.stderr}`);
    }
    const { client } = hosts;
    const close = () => topology.close();
    return options.families.map((family) => {
      const addresses = ADDRESSES[family];
      const url = `http://${literal(addresses.vip)}/`;
      return { topology, client, director, servers, addresses, url, deoptimisations, close };
    });
  } catch (error) {
    topology.close();
    throw error;
  }
}

/** One family alone. */
export async function startMatrix({ family, ...options }: MatrixOptions): Promise<Matrix> {
  const [matrix] = await startMatrices({ ...options, families: [family] });
  return matrix!;
}
