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
import { SERVER_ADDRESS, SERVICE_PORT, VIRTUAL_ADDRESS } from './settings';

const START_MS = 20_000;
const METRICS = '127.0.0.1:9420';
/** Chunks for both fill rings, and as many again for frames on their way. */
const CHUNKS_PER_RING_ENTRY = 4;

export interface Running {
  /** User-space processes of the contender; kernel contenders have none. */
  readonly pids: readonly number[];
  /** Throws when it ended by itself. Returns what it counted, for the log. */
  stop(): Promise<string>;
}

export interface Contender {
  readonly name: string;
  /** Which of the sink's counters it must reach: a director rewrites the destination. */
  readonly counts: 'rewritten' | 'unchanged';
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

function writeDirectorConfig(lab: WireLab): string {
  const { front, back } = lab.ends;
  const { contenderCpu, mode } = lab.settings;
  const server = { address: `${SERVER_ADDRESS}:${SERVICE_PORT}`, method: 'nat', weight: 1 };
  const config = {
    socket: join(lab.directory, 'xvs.sock'),
    metrics: { listen: METRICS },
    workers: { count: 1, cpus: [contenderCpu], mode },
    interfaces: [front, back].map((end) => ({ name: end.interface, xdp: 'native' })),
    services: [{ udp: `${VIRTUAL_ADDRESS}:${SERVICE_PORT}`, scheduler: 'rr', servers: [server] }],
  };
  return lab.writeFile('xvs.yaml', stringify(config));
}

const xvs: Contender = {
  name: 'xvs',
  counts: 'rewritten',
  missing: () => (existsSync(XVSD) ? null : `${XVSD} is not there: npm run build makes it`),
  async start(lab) {
    const command = [process.execPath, XVSD, '--config', writeDirectorConfig(lab)];
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

const nftables: Contender = {
  name: 'nftables',
  counts: 'rewritten',
  missing: () => null,
  async start(lab) {
    const { host } = lab.ends.front;
    const rules = lab.writeFile(
      'rules.nft',
      `table ip xvsbench {
        chain prerouting {
          type nat hook prerouting priority dstnat; policy accept;
          ip daddr ${VIRTUAL_ADDRESS} udp dport ${SERVICE_PORT} dnat to ${SERVER_ADDRESS}
        }
      }\n`,
    );
    commandSync(host.inside(['nft', '-f', rules]));
    return {
      pids: [],
      async stop() {
        commandSync(host.inside(['nft', 'delete', 'table', 'ip', 'xvsbench']));
        return '';
      },
    };
  },
};

const cForwarder: Contender = {
  name: 'c-forwarder',
  counts: 'unchanged',
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

export const ALL: readonly Contender[] = [xvs, nftables, cForwarder];
