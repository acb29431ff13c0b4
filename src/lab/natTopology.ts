/**
 * The hosts of the NAT lab, as an LVS course draws them.
 *
 *   client 172.25.254.200/24
 *     |
 *   director eth0 172.25.254.100/24 (VIP), eth1 192.168.0.100/24
 *     |
 *   switch
 *     |-- webserver1 192.168.0.10/24  gateway 192.168.0.100
 *     `-- webserver2 192.168.0.20/24  gateway 192.168.0.100
 */
import type { Namespace } from './namespace';
import { Topology } from './topology';
import { startWebServer, type WebServer } from './webServer';

export const CLIENT_ADDRESS = '172.25.254.200';
export const VIP = '172.25.254.100';
export const DIRECTOR_SERVER_SIDE = '192.168.0.100';
export const REAL_SERVERS = ['192.168.0.10', '192.168.0.20'] as const;
const PREFIX_LENGTH = 24;

export interface NatHosts {
  readonly topology: Topology;
  readonly client: Namespace;
  readonly director: Namespace;
  readonly webServers: readonly [WebServer, WebServer];
}

export interface NatOptions {
  /**
   * Queues of both of the director's interfaces. The far ends get as many: a veth end receives on
   * the queue that the other end sends on.
   */
  readonly queues?: number;
}

async function startRealServer(
  topology: Topology,
  switchHost: Namespace,
  number: 1 | 2,
): Promise<WebServer> {
  const address = REAL_SERVERS[number - 1]!;
  const host = topology.host(`web${number}`);
  topology.cable(
    { host, interface: 'eth0', mac: `02:00:00:00:02:0${number}` },
    { host: switchHost, interface: `web${number}` },
  );
  topology.plug(switchHost, 'bridge', `web${number}`);
  host.address('eth0', `${address}/${PREFIX_LENGTH}`);
  host.route('default', DIRECTOR_SERVER_SIDE);
  return startWebServer(topology, host, `webserver${number}`, address);
}

/** Builds hosts and cables and starts the real servers; the director runs no daemon yet. */
export async function buildNatHosts(options: NatOptions = {}): Promise<NatHosts> {
  const topology = new Topology();
  try {
    const queues = options.queues === undefined ? {} : { queues: options.queues };
    const client = topology.host('client');
    const director = topology.host('director');
    const switchHost = topology.host('switch');
    topology.cable(
      { host: client, interface: 'eth0', mac: '02:00:00:00:01:c8', ...queues },
      { host: director, interface: 'eth0', mac: '02:00:00:00:01:64', ...queues },
    );
    topology.bridge(switchHost, 'bridge');
    topology.cable(
      { host: director, interface: 'eth1', mac: '02:00:00:00:02:64', ...queues },
      { host: switchHost, interface: 'director', ...queues },
    );
    topology.plug(switchHost, 'bridge', 'director');
    client.address('eth0', `${CLIENT_ADDRESS}/${PREFIX_LENGTH}`);
    director.address('eth0', `${VIP}/${PREFIX_LENGTH}`);
    director.address('eth1', `${DIRECTOR_SERVER_SIDE}/${PREFIX_LENGTH}`);
    director.sysctl({ 'net.ipv4.ip_forward': 1 });
    const webServers = await Promise.all([
      startRealServer(topology, switchHost, 1),
      startRealServer(topology, switchHost, 2),
    ]);
    return { topology, client, director, webServers };
  } catch (error) {
    topology.close();
    throw error;
  }
}
