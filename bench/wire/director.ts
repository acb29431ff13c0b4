/** xvs as a contender: the daemon, one service, one real server, one worker. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { daemonCommand, executable } from '#xvs/lab/director';
import { eventually, runCommand } from '#xvs/lab/process';
import type { Child } from '../support/child';
import type { End } from '../support/vethLab';
import { type Contender, expectedOf, type Running, stopChild } from './contender';
import { ADDRESSES, endpoint, type Family, type Method, type Mode } from './settings';

const START_MS = 60_000;
const READY_POLL_MS = 50;
const METRICS = '127.0.0.1:9420';

/** What the daemon needs of a lab. */
export interface DirectorPlace {
  readonly directory: string;
  readonly ends: Readonly<Record<'front' | 'back', End>>;
  readonly settings: { readonly contenderCpu: number };
  spawn(end: 'front', cpu: 'contenderCpu', name: string, command: readonly string[]): Child;
  writeFile(name: string, text: string): string;
}

/** Why xvs cannot take part, or null. */
export function xvsIsMissing(): string | null {
  const file = executable('xvsd');
  return existsSync(file) ? null : `${file} is not there: npm run build makes it`;
}

export interface Task {
  readonly protocol: 'udp' | 'tcp';
  readonly method: Method;
  readonly family: Family;
  readonly mode: Mode;
}

function writeConfig(lab: DirectorPlace, { protocol, method, family, mode }: Task): string {
  const { front, back } = lab.ends;
  const { virtual, server, local } = ADDRESSES[family];
  const service = {
    [protocol]: endpoint(virtual),
    scheduler: 'rr',
    ...(method === 'fullnat' ? { localAddresses: local } : {}),
    servers: [
      { address: endpoint(server), method: method === 'tunnel' ? 'tun' : method, weight: 1 },
    ],
  };
  const config = {
    socket: join(lab.directory, 'xvs.sock'),
    metrics: { listen: METRICS },
    workers: { count: 1, cpus: [lab.settings.contenderCpu], mode },
    interfaces: [front, back].map((end) => ({ name: end.interface, xdp: 'native' })),
    services: [service],
  };
  return lab.writeFile('xvs.yaml', stringify(config));
}

/** Starts the daemon in a lab's director and waits until it is ready. */
export async function startXvs(lab: DirectorPlace, task: Task): Promise<Running> {
  const config = writeConfig(lab, task);
  const command = [...daemonCommand(), '--config', config];
  const child = lab.spawn('front', 'contenderCpu', 'xvsd', command);
  const ask = (path: string) => {
    const curl = ['curl', '-sf', '--max-time', '2', `http://${METRICS}${path}`];
    return runCommand(lab.ends.front.host.inside(curl));
  };
  const isReady = async () => child.isOver || (await ask('/readyz')).status === 0;
  const ready = await eventually(isReady, START_MS, READY_POLL_MS);
  if (child.isOver) throw new Error(`xvsd ended: ${child.errors || 'no message'}`);
  if (!ready) throw new Error(`xvsd is not ready after ${START_MS} ms: ${child.errors}`);
  return {
    pids: [child.pid],
    async stop() {
      const metrics = await ask('/metrics');
      await stopChild(child);
      const isTold = (line: string) => /^xvs\S* [1-9]/.test(line) && !line.includes('_bucket{');
      const lines = metrics.stdout.split('\n').filter(isTold);
      return lines.join('\n');
    },
  };
}

export function xvs(method: Method, family: Family, mode: Mode): Contender {
  return {
    name: `xvs ${method} IPv${family}`,
    family,
    mode,
    expected: expectedOf(method, family),
    packages: [],
    missing: xvsIsMissing,
    start: (lab) => startXvs(lab, { protocol: 'udp', method, family, mode }),
  };
}
