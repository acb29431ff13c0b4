/**
 * The hosts that goldens/sched was recorded on, with real sockets: a client with thousands of
 * addresses, the director between two networks, four real servers behind it.
 *
 *   client c0 10.0.1.100/24, and every address of 172.16.0.0/12 and 10.0.1.128/25
 *     |
 *   director d0 10.0.1.1/24, d1 10.0.2.1/24; 198.51.100.0/24 are its own addresses
 *     |
 *   switch -- rs1 .. rs4 eth0 10.0.2.11 .. 10.0.2.14/24, gateway 10.0.2.1
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Director } from '#xvs/lab/director';
import type { Namespace } from '#xvs/lab/namespace';
import { ended, eventually } from '#xvs/lab/process';
import { Topology } from '#xvs/lab/topology';

const SERVERS = ['rs1', 'rs2', 'rs3', 'rs4'] as const;
const READY_TIMEOUT_MS = 5000;
const END_TIMEOUT_MS = 5000;
const CLIENT_NETWORKS = ['172.16.0.0/12', '10.0.1.128/25'];

/** What the client is asked to do: goldenClient.ts. */
export type ClientOrder =
  | { readonly op: 'tcp'; readonly client: string; readonly vip: string; readonly hold: boolean }
  | { readonly op: 'udp'; readonly client: string; readonly vip: string; readonly len: number }
  | { readonly op: 'close'; readonly how: string; readonly client: string }
  | { readonly op: 'forget' };

/** The client's process: one order after another, each answered with a line. */
export class GoldenClient {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(host: Namespace) {
    const script = join(__dirname, 'goldenClient.js');
    const [file, ...words] = host.inside([process.execPath, script]);
    this.#child = spawn(file!, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** Resolves with who answered, or the error's code. */
  async order(order: ClientOrder): Promise<string> {
    this.#child.stdin!.write(`${JSON.stringify(order)}\n`);
    const line = await this.#lines.next();
    assert.ok(line.done !== true, 'the client has ended');
    return line.value;
  }

  async close(): Promise<void> {
    this.#child.stdin!.end();
    await ended(this.#child);
  }
}

export interface GoldenHosts {
  readonly topology: Topology;
  readonly director: Director;
  readonly host: Namespace;
  readonly client: GoldenClient;
  /** Until no real server has a connection left. */
  waitForEnd(): Promise<void>;
  close(): Promise<void>;
}

function layCables(topology: Topology, client: Namespace, director: Namespace): Namespace[] {
  const switchHost = topology.host('switch');
  topology.cable(
    { host: client, interface: 'c0', mac: '02:00:00:00:01:64' },
    { host: director, interface: 'd0', mac: '02:00:00:00:01:01' },
  );
  topology.bridge(switchHost, 'brS');
  topology.cable(
    { host: director, interface: 'd1', mac: '02:00:00:00:02:01' },
    { host: switchHost, interface: 'd1' },
  );
  topology.plug(switchHost, 'brS', 'd1');
  return SERVERS.map((name, index) => {
    const host = topology.host(name);
    topology.cable(
      { host, interface: 'eth0', mac: `02:00:00:00:02:1${index + 1}` },
      { host: switchHost, interface: name },
    );
    topology.plug(switchHost, 'brS', name);
    host.address('eth0', `10.0.2.1${index + 1}/24`);
    host.route('default', '10.0.2.1');
    return host;
  });
}

async function startServers(topology: Topology, servers: readonly Namespace[]): Promise<void> {
  const script = join(__dirname, 'goldenServer.js');
  for (const [index, host] of servers.entries()) {
    const name = SERVERS[index]!;
    const ready = join(topology.directory, `${name}.ready`);
    topology.spawn(host, [process.execPath, script, name, ready], `${name}.log`);
  }
  const ready = () =>
    SERVERS.every((name) => existsSync(join(topology.directory, `${name}.ready`)));
  assert.ok(await eventually(ready, READY_TIMEOUT_MS), 'not all real servers listen');
}

/** A connection that a real server still has would answer the next SYN from its port. */
async function waitForEnd(servers: readonly Namespace[]): Promise<void> {
  const states = ['established', 'close-wait', 'last-ack', 'syn-recv'];
  const list = ['ss', '-Htn', ...states.flatMap((state) => ['state', state])];
  let left = '';
  const ended = await eventually(async () => {
    const listed = await Promise.all(servers.map((server) => server.run(list)));
    left = listed.map(({ stdout, stderr }) => stdout + stderr).join('');
    return left === '';
  }, END_TIMEOUT_MS);
  assert.ok(ended, `real servers still have connections:\n${left}`);
}

/** Builds the hosts and starts the real servers and the client; the daemon does not run yet. */
export async function buildGoldenHosts(): Promise<GoldenHosts> {
  const topology = new Topology();
  try {
    const client = topology.host('client');
    const host = topology.host('director');
    const servers = layCables(topology, client, host);
    client.address('c0', '10.0.1.100/24');
    client.route('default', '10.0.1.1');
    for (const network of CLIENT_NETWORKS) client.ip('route', 'add', 'local', network, 'dev', 'lo');
    // Ports are used again in the next case, at once.
    client.sysctl({ 'net.ipv4.tcp_max_tw_buckets': 0 });
    host.address('d0', '10.0.1.1/24');
    host.address('d1', '10.0.2.1/24');
    host.ip('route', 'add', 'local', '198.51.100.0/24', 'dev', 'lo');
    host.route('172.16.0.0/12', '10.0.1.100');
    host.sysctl({ 'net.ipv4.ip_forward': 1 });
    await startServers(topology, servers);
    const director = new Director(topology, host, {
      interfaces: [{ name: 'd0' }, { name: 'd1' }],
      connections: { capacity: 4096 },
    });
    const process = new GoldenClient(client);
    const close = async () => {
      await process.close();
      topology.close();
    };
    const wait = () => waitForEnd(servers);
    return { topology, director, host, client: process, waitForEnd: wait, close };
  } catch (error) {
    topology.close();
    throw error;
  }
}
