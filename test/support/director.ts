/**
 * A NAT lab with its daemon, for tests: built by `startNat`, removed by `close` (or, should a test
 * forget, when its process ends).
 */
import { Director, type DirectorConfig } from '#xvs/lab/director';
import {
  buildNatHosts,
  type NatHosts,
  type NatOptions,
  REAL_SERVERS,
  VIP,
} from '#xvs/lab/natTopology';

export const VIP_URL = `http://${VIP}/`;
export const ECHO_PORT = 7007;

function servers(port: number): unknown[] {
  return REAL_SERVERS.map((address) => ({
    address: `${address}:${port}`,
    method: 'nat',
    weight: 1,
  }));
}

/** Web service and UDP echo service on the VIP, both NAT with rr over two real servers. */
export const NAT_CONFIG: DirectorConfig = {
  interfaces: [{ name: 'eth0' }, { name: 'eth1' }],
  services: [
    { tcp: `${VIP}:80`, scheduler: 'rr', servers: servers(80) },
    { udp: `${VIP}:${ECHO_PORT}`, scheduler: 'rr', servers: servers(ECHO_PORT) },
  ],
};

export interface Stand {
  readonly hosts: NatHosts;
  readonly director: Director;
  close(): void;
}

/** Builds the hosts and starts the daemon with NAT_CONFIG, `config`'s keys taking precedence. */
export async function startNat(
  config: Readonly<Record<string, unknown>> = {},
  options: NatOptions = {},
): Promise<Stand> {
  const hosts = await buildNatHosts(options);
  const close = () => hosts.topology.close();
  try {
    const director = new Director(hosts.topology, hosts.director, { ...NAT_CONFIG, ...config });
    await director.start();
    return { hosts, director, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** One line of the exporter's answer. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** All samples of one metric in Prometheus' text format. */
export function samplesOf(text: string, metric: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match === null || match[1] !== metric) continue;
    const pairs = [...(match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    const labels = Object.fromEntries(pairs.map(([, name, value]) => [name!, value!]));
    samples.push({ labels, value: Number(match[3]) });
  }
  return samples;
}

/** Sum over all samples of a metric. Throws when the exporter does not know the metric. */
export function sumOf(text: string, metric: string): number {
  const samples = samplesOf(text, metric);
  if (samples.length === 0) throw new Error(`the exporter has no metric ${metric}`);
  return samples.reduce((sum, sample) => sum + sample.value, 0);
}
