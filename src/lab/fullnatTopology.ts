/**
 * The hosts of the FULLNAT lab. The real servers' gateway is a router that knows no way to the
 * client: their replies get there only because they see the director's own addresses.
 *
 *   client 172.25.254.200/24
 *     |
 *   director eth0 172.25.254.100/24 (VIP), eth1 192.168.0.100/24, 192.168.0.101, 192.168.0.102
 *     |
 *   switch
 *     |-- router     192.168.0.254/24
 *     |-- webserver1 192.168.0.10/24  gateway 192.168.0.254, port 9000
 *     `-- webserver2 192.168.0.20/24  gateway 192.168.0.254, port 9000
 */
import type { Namespace } from './namespace';
import { Topology } from './topology';
import { startWebServer, type WebServer } from './webServer';

export const CLIENT_ADDRESS = '172.25.254.200';
export const VIP = '172.25.254.100';
export const REAL_SERVERS = ['192.168.0.10', '192.168.0.20'] as const;
export const REAL_PORT = 9000;
export const LOCAL_ADDRESSES = ['192.168.0.101', '192.168.0.102'] as const;
export const GATEWAY = '192.168.0.254';
const DIRECTOR_SERVER_SIDE = '192.168.0.100';
const PREFIX_LENGTH = 24;

export interface FullnatHosts {
  readonly topology: Topology;
  readonly client: Namespace;
  readonly director: Namespace;
  readonly switchHost: Namespace;
  readonly webServers: readonly [WebServer, WebServer];
}

async function startRealServer(
  topology: Topology,
  switchHost: Namespace,
  number: 1 | 2,
): Promise<WebServer> {
  const address = REAL_SERVERS[number - 1]!;
  const name = `web${number}`;
  const host = topology.host(name);
  topology.behindSwitch({ host, interface: 'eth0' }, switchHost, name);
  host.address('eth0', `${address}/${PREFIX_LENGTH}`);
  host.route('default', GATEWAY);
  const options = { port: REAL_PORT };
  return startWebServer(topology, host, `webserver${number}`, address, options);
}

/** Builds hosts and cables and starts the real servers; the director runs no daemon yet. */
export async function buildFullnatHosts(): Promise<FullnatHosts> {
  const topology = new Topology();
  try {
    const client = topology.host('client');
    const director = topology.host('director');
    const switchHost = topology.host('switch');
    const router = topology.host('router');
    topology.cable({ host: client, interface: 'eth0' }, { host: director, interface: 'eth0' });
    topology.bridge(switchHost, 'bridge');
    topology.behindSwitch({ host: director, interface: 'eth1' }, switchHost, 'director');
    topology.behindSwitch({ host: router, interface: 'eth0' }, switchHost, 'router');
    client.address('eth0', `${CLIENT_ADDRESS}/${PREFIX_LENGTH}`);
    director.address('eth0', `${VIP}/${PREFIX_LENGTH}`);
    for (const own of [DIRECTOR_SERVER_SIDE, ...LOCAL_ADDRESSES]) {
      director.address('eth1', `${own}/${PREFIX_LENGTH}`);
    }
    router.address('eth0', `${GATEWAY}/${PREFIX_LENGTH}`);
    const webServers = await Promise.all([
      startRealServer(topology, switchHost, 1),
      startRealServer(topology, switchHost, 2),
    ]);
    return { topology, client, director, switchHost, webServers };
  } catch (error) {
    topology.close();
    throw error;
  }
}
