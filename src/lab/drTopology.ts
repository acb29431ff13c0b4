/**
 * The hosts of the labs with direct routing, as an LVS course draws them. Director and real servers
 * all have the VIP 192.168.0.200/32 on lo; only the director answers ARP for it.
 *
 *   client 172.25.254.200/24
 *     |
 *   router eth0 172.25.254.100/24, eth1 192.168.0.100/24
 *     |
 *   switch (its ports: router, director, web1, web2)
 *     |-- director   192.168.0.50/24  gateway 192.168.0.100
 *     |-- webserver1 192.168.0.10/24  gateway 192.168.0.100
 *     `-- webserver2 192.168.0.20/24  gateway 192.168.0.100
 */
import type { Namespace } from './namespace';
import { commandSync } from './process';
import { Topology } from './topology';
import { startWebServer, type WebServer } from './webServer';

export const CLIENT_ADDRESS = '172.25.254.200';
export const ROUTER_CLIENT_SIDE = '172.25.254.100';
export const ROUTER_SERVER_SIDE = '192.168.0.100';
export const DIRECTOR_ADDRESS = '192.168.0.50';
export const VIP = '192.168.0.200';
export const REAL_SERVERS = ['192.168.0.10', '192.168.0.20'] as const;
export const ROUTER_MAC = '02:00:00:00:02:64';
export const DIRECTOR_MAC = '02:00:00:00:02:32';
const PREFIX_LENGTH = 24;

export interface DrHosts {
  readonly topology: Topology;
  readonly client: Namespace;
  readonly router: Namespace;
  readonly switchHost: Namespace;
  readonly director: Namespace;
  readonly webServers: readonly [WebServer, WebServer];
}

export interface DrOptions {
  /** HTTPS on the real servers too. */
  readonly tls?: boolean;
  /** The client finishes its checksums itself, so that captures can be compared byte by byte. */
  readonly finishedChecksums?: boolean;
}

/** MAC of webserver `number`. */
export function serverMac(number: number): string {
  return `02:00:00:00:02:0${number}`;
}

async function startRealServer(
  topology: Topology,
  switchHost: Namespace,
  number: 1 | 2,
  tls: boolean,
): Promise<WebServer> {
  const address = REAL_SERVERS[number - 1]!;
  const name = `web${number}`;
  const host = topology.host(name);
  // Answers ARP only for addresses of the interface asked on, and asks with such an address.
  host.sysctl({ 'net.ipv4.conf.all.arp_ignore': 1, 'net.ipv4.conf.all.arp_announce': 2 });
  topology.behindSwitch({ host, interface: 'eth0', mac: serverMac(number) }, switchHost, name);
  host.address('eth0', `${address}/${PREFIX_LENGTH}`);
  host.address('lo', `${VIP}/32`);
  host.route('default', ROUTER_SERVER_SIDE);
  return startWebServer(topology, host, `webserver${number}`, address, { alsoOn: [VIP], tls });
}

/** Builds hosts and cables and starts the real servers; the director runs no daemon yet. */
export async function buildDrHosts(options: DrOptions = {}): Promise<DrHosts> {
  const { tls = false, finishedChecksums = false } = options;
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
    topology.bridge(switchHost, 'bridge');
    topology.behindSwitch(
      { host: router, interface: 'eth1', mac: ROUTER_MAC },
      switchHost,
      'router',
    );
    topology.behindSwitch(
      { host: director, interface: 'eth0', mac: DIRECTOR_MAC },
      switchHost,
      'director',
    );
    client.address('eth0', `${CLIENT_ADDRESS}/${PREFIX_LENGTH}`);
    client.route('default', ROUTER_CLIENT_SIDE);
    router.address('eth0', `${ROUTER_CLIENT_SIDE}/${PREFIX_LENGTH}`);
    router.address('eth1', `${ROUTER_SERVER_SIDE}/${PREFIX_LENGTH}`);
    router.sysctl({ 'net.ipv4.ip_forward': 1 });
    director.address('eth0', `${DIRECTOR_ADDRESS}/${PREFIX_LENGTH}`);
    director.address('lo', `${VIP}/32`);
    director.route('default', ROUTER_SERVER_SIDE);
    if (finishedChecksums) commandSync(client.inside(['ethtool', '-K', 'eth0', 'tx', 'off']));
    const webServers = await Promise.all([
      startRealServer(topology, switchHost, 1, tls),
      startRealServer(topology, switchHost, 2, tls),
    ]);
    return { topology, client, router, switchHost, director, webServers };
  } catch (error) {
    topology.close();
    throw error;
  }
}
