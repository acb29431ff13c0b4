/**
 * Who takes part in the wire bench. Each is started afresh for every measurement, on the
 * contender's CPU, and stopped after it, so that none leaves a hook, a program or a warm cache
 * behind for the next.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { commandSync, eventually, runCommand } from '#xvs/lab/process';
import type { Child } from '../support/child';
import { compileObject, compileProgram, PROJECT } from '../support/compile';
import type { WireLab } from './lab';
import {
  ADDRESSES,
  endpoint,
  type Family,
  type Method,
  SERVICE_PORT,
  type Settings,
} from './settings';

const START_MS = 20_000;
const METRICS = '127.0.0.1:9420';
/** Chunks for both fill rings, and as many again for frames on their way. */
const CHUNKS_PER_RING_ENTRY = 4;
/** As the generator sends it. */
const TTL = 64;

export interface Running {
  /** User-space processes of the contender; kernel contenders have none. */
  readonly pids: readonly number[];
  /** Throws when it ended by itself. Returns what it counted, for the log. */
  stop(): Promise<string>;
}

/** What the real server must get: other frames do not count. */
export interface Expected {
  readonly source: string;
  readonly sourcePrefix: number;
  readonly destination: string;
  readonly ttl: number;
  /** Destination of the outer header; "-" = none. */
  readonly outer: string;
}

export interface Contender {
  readonly name: string;
  readonly family: Family;
  readonly expected: Expected;
  /** Why it cannot take part, or null. */
  missing(): string | null;
  start(lab: WireLab): Promise<Running>;
}

async function stopChild(child: Child): Promise<void> {
  if (child.isOver)
    throw new Error(`${child.name} ended by itself: ${child.errors || 'no message'}`);
  await child.stop();
}

const XVSD = join(PROJECT, 'dist/bin/xvsd.js');

function expectedOf(method: Method, family: Family): Expected {
  const { flows, flowsPrefix, virtual, server, local, localPrefix } = ADDRESSES[family];
  const isFullnat = method === 'fullnat';
  const keepsDestination = method === 'dr' || method === 'tunnel';
  return {
    source: isFullnat ? local[0]! : flows,
    sourcePrefix: isFullnat ? localPrefix : flowsPrefix,
    destination: keepsDestination ? virtual : server,
    ttl: TTL - 1,
    outer: method === 'tunnel' ? server : '-',
  };
}

function writeDirectorConfig(lab: WireLab, method: Method, family: Family): string {
  const { front, back } = lab.ends;
  const { contenderCpu, mode } = lab.settings;
  const { virtual, server, local } = ADDRESSES[family];
  const service = {
    udp: endpoint(virtual),
    scheduler: 'rr',
    ...(method === 'fullnat' ? { localAddresses: local } : {}),
    servers: [
      { address: endpoint(server), method: method === 'tunnel' ? 'tun' : method, weight: 1 },
    ],
  };
  const config = {
    socket: join(lab.directory, 'xvs.sock'),
    metrics: { listen: METRICS },
    workers: { count: 1, cpus: [contenderCpu], mode },
    interfaces: [front, back].map((end) => ({ name: end.interface, xdp: 'native' })),
    services: [service],
  };
  return lab.writeFile('xvs.yaml', stringify(config));
}

function xvs(method: Method, family: Family): Contender {
  return {
    name: `xvs ${method} IPv${family}`,
    family,
    expected: expectedOf(method, family),
    missing: () => (existsSync(XVSD) ? null : `${XVSD} is not there: npm run build makes it`),
    async start(lab) {
      const config = writeDirectorConfig(lab, method, family);
      const command = [process.execPath, XVSD, '--config', config];
      const child = lab.spawn('front', 'contenderCpu', 'xvsd', command);
      const ask = (path: string) => {
        const curl = ['curl', '-sf', '--max-time', '2', `http://${METRICS}${path}`];
        return runCommand(lab.ends.front.host.inside(curl));
      };
      const isReady = async () => child.isOver || (await ask('/readyz')).status === 0;
      const ready = await eventually(isReady, START_MS, 100);
      if (child.isOver) throw new Error(`xvsd ended: ${child.errors || 'no message'}`);
      if (!ready) throw new Error(`xvsd is not ready after ${START_MS} ms: ${child.errors}`);
      return {
        pids: [child.pid],
        async stop() {
          const metrics = await ask('/metrics');
          await stopChild(child);
          const lines = metrics.stdout.split('\n').filter((line) => /^xvs\S* [1-9]/.test(line));
          return lines.join('\n');
        },
      };
    },
  };
}

/** NAT by the kernel. */
function nftables(family: Family): Contender {
  const [table, match] = family === 4 ? ['ip', 'ip'] : ['ip6', 'ip6'];
  const { virtual, server } = ADDRESSES[family];
  return {
    name: `nftables IPv${family}`,
    family,
    expected: expectedOf('nat', family),
    missing: () => null,
    async start(lab) {
      const { host } = lab.ends.front;
      const rules = lab.writeFile(
        'rules.nft',
        `table ${table} xvsbench {
          chain prerouting {
            type nat hook prerouting priority dstnat; policy accept;
            ${match} daddr ${virtual} udp dport ${SERVICE_PORT} dnat to ${server}
          }
        }\n`,
      );
      commandSync(host.inside(['nft', '-f', rules]));
      return {
        pids: [],
        async stop() {
          commandSync(host.inside(['nft', 'delete', 'table', table, 'xvsbench']));
          return '';
        },
      };
    },
  };
}

const cForwarder: Contender = {
  name: 'c-forwarder IPv4',
  family: 4,
  // Nothing but the MAC addresses changes.
  expected: { ...expectedOf('dr', 4), ttl: TTL },
  missing: () => null,
  async start(lab) {
    const { client, front, back, server } = lab.ends;
    const { ring, mode } = lab.settings;
    const child = lab.spawn('front', 'contenderCpu', 'c-forwarder', [
      compileProgram('bench/wire/forwarder.c', '-lbpf'),
      compileObject('bench/wire/forwarder.bpf.c'),
      ...[front.interface, client.mac, front.mac],
      ...[back.interface, server.mac, back.mac],
      mode === 'busy' ? 'busy' : 'poll',
      String(ring),
      String(ring * CHUNKS_PER_RING_ENTRY),
    ]);
    await child.line(START_MS);
    return {
      pids: [child.pid],
      async stop() {
        await stopChild(child);
        return child.line(START_MS);
      },
    };
  },
};

/** In the order in which a round measures them: the kernel's NAT beside xvs's. */
export function contendersOf(settings: Settings): Contender[] {
  const { contenders, methods, families } = settings;
  const has = (name: string) => contenders.includes(name);
  return families.flatMap((family) => [
    ...(has('nftables') ? [nftables(family)] : []),
    ...(has('xvs') ? methods.map((method) => xvs(method, family)) : []),
    ...(has('c-forwarder') && family === 4 ? [cForwarder] : []),
  ]);
}
