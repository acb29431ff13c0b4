/**
 * The hosts of the lab with tunnels: the real servers stand in another subnet, which the director
 * reaches through a router. Director and real servers all have the VIP 192.168.0.200/32 on lo; it
 * is the director's by its subnet.
 *
 *   client 172.25.254.200/24
 *     |
 *   router eth0 172.25.254.100/24
 *     |--- eth1 192.168.0.100/24 --- director 192.168.0.50/24
 *     `--- eth2 10.0.0.100/24 --- switch (its ports: router, web1, web2)
 *                                   |-- webserver1 10.0.0.10/24  gateway 10.0.0.100
 *                                   `-- webserver2 10.0.0.20/24  gateway 10.0.0.100
 *
 * The real servers take the outer headers off with `xvs decap`, as on a kernel without tunnel
 * devices, and answer the client past the director.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { executable } from './director';
import type { Namespace } from './namespace';
import { commandSync, eventually } from './process';
import { Topology } from './topology';
import { startWebServer, type WebServer } from './webServer';

export const CLIENT_ADDRESS = '172.25.254.200';
export const ROUTER_CLIENT_SIDE = '172.25.254.100';
export const ROUTER_DIRECTOR_SIDE = '192.168.0.100';
export const ROUTER_SERVER_SIDE = '10.0.0.100';
export const DIRECTOR_ADDRESS = '192.168.0.50';
export const VIP = '192.168.0.200';
export const REAL_SERVERS = ['10.0.0.10', '10.0.0.20'] as const;
export const ROUTER_DIRECTOR_MAC = '02:00:00:00:02:64';
export const ROUTER_SERVER_MAC = '02:00:00:00:03:64';
export const DIRECTOR_MAC = '02:00:00:00:02:32';
const PREFIX_LENGTH = 24;
const DECAP_TIMEOUT_MS = 10_000;

export interface TunHosts {
  readonly topology: Topology;
  readonly client: Namespace;
  readonly router: Namespace;
  readonly switchHost: Namespace;
  readonly director: Namespace;
  readonly webServers: readonly [WebServer, WebServer];
}

export interface TunOptions {
  /** The client finishes its checksums itself, so that captures can be compared byte by byte. */
  readonly finishedChecksums?: boolean;
}

/** MAC of webserver `number`. */
export function serverMac(number: number): string {
  return `02:00:00:00:03:0${number}`;
}

/** Runs `xvs decap` on a real server and waits until it is in place. */
export async function startDecap(
  topology: Topology,
  host: Namespace,
  words: readonly string[],
): Promise<ChildProcess> {
  const command = [process.execPath, executable('xvs'), 'decap', ...words];
  const log = `${host.name}-decap.log`;
  const child = topology.spawn(host, command, log);
  const said = () => readFileSync(join(topology.directory, log), 'utf8').trim();
  const settled = () => said() !== '' || child.exitCode !== null;
  if (!(await eventually(settled, DECAP_TIMEOUT_MS)) || child.exitCode !== null) {
    throw new Error(`${host.name}: xvs decap ${words.join(' ')} does not start: ${said()}`);
  }
  return child;
}

async function startRealServer(
  topology: Topology,
  switchHost: Namespace,
  number: 1 | 2,
): Promise<WebServer> {
  const own = REAL_SERVERS[number - 1]!;
  const name = `web${number}`;
  const host = topology.host(name);
  topology.behindSwitch({ host, interface: 'eth0', mac: serverMac(number) }, switchHost, name);
  host.address('eth0', `${own}/${PREFIX_LENGTH}`);
  host.address('lo', `${VIP}/32`);
  host.route('default', ROUTER_SERVER_SIDE);
  await startDecap(topology, host, ['eth0', '--vip', VIP]);
  return startWebServer(topology, host, `webserver${number}`, own, { alsoOn: [VIP] });
}

function setUpRouter(router: Namespace): void {
  router.address('eth0', `${ROUTER_CLIENT_SIDE}/${PREFIX_LENGTH}`);
  router.address('eth1', `${ROUTER_DIRECTOR_SIDE}/${PREFIX_LENGTH}`);
  router.address('eth2', `${ROUTER_SERVER_SIDE}/${PREFIX_LENGTH}`);
  router.sysctl({
    'net.ipv4.ip_forward': 1,
    // The VIP is the director's by its subnet, and the servers' answers come from elsewhere.
    'net.ipv4.conf.all.rp_filter': 0,
    'net.ipv4.conf.eth2.rp_filter': 0,
  });
}

/** Builds hosts and cables and starts the real servers; the director runs no daemon yet. */
export async function buildTunHosts(options: TunOptions = {}): Promise<TunHosts> {
  const { finishedChecksums = false } = options;
  const topology = new Topology();
  try {
    const client = topology.host('client');
    const router = topology.host('router');
    const switchHost = topology.host('switch');
    const director = topology.host('director');
    topology.cable(
      { host: client, interface: 'eth0', mac: '02:00:00:00:01:c8' },
      { host: router, interface: 'eth0', mac: '02:00:00:00:01:64' },
    );
    topology.cable(
      { host: director, interface: 'eth0', mac: DIRECTOR_MAC },
      { host: router, interface: 'eth1', mac: ROUTER_DIRECTOR_MAC },
    );
    topology.bridge(switchHost, 'bridge');
    topology.behindSwitch(
      { host: router, interface: 'eth2', mac: ROUTER_SERVER_MAC },
      switchHost,
      'router',
    );
    client.address('eth0', `${CLIENT_ADDRESS}/${PREFIX_LENGTH}`);
    client.route('default', ROUTER_CLIENT_SIDE);
    setUpRouter(router);
    director.address('eth0', `${DIRECTOR_ADDRESS}/${PREFIX_LENGTH}`);
    director.address('lo', `${VIP}/32`);
    director.route('default', ROUTER_DIRECTOR_SIDE);
    if (finishedChecksums) commandSync(client.inside(['ethtool', '-K', 'eth0', 'tx', 'off']));
    const webServers = await Promise.all([
      startRealServer(topology, switchHost, 1),
      startRealServer(topology, switchHost, 2),
    ]);
    return { topology, client, router, switchHost, director, webServers };
  } catch (error) {
    topology.close();
    throw error;
  }
}
