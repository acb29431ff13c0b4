/**
 * Who takes part in the bench tcp. Each is started afresh for every round, in a lab of its own, and
 * has one virtual service with one real server.
 */
import { existsSync } from 'node:fs';
import { eventually, runCommand } from '#xvs/lab/process';
import { type Candidate, isInstalled } from '../support/install';
import { type Running, stopChild } from '../wire/contender';
import { startXvs, xvsIsMissing } from '../wire/director';
import { startNftables } from '../wire/peers';
import { ADDRESSES, endpoint, type Mode, SERVICE_PORT } from '../wire/settings';
import type { TcpLab } from './lab';
import { nginxCommand, nginxMain } from './server';
import type { Method, Settings } from './settings';

const START_MS = 20_000;
const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';
const { virtual, server } = ADDRESSES[4];

export interface Contender extends Candidate {
  /** How xvs waits for frames; of others, what they are. */
  readonly mode: Mode | 'kernel' | 'proxy';
  start(lab: TcpLab): Promise<Running>;
}

function xvs(method: Method, mode: Mode): Contender {
  return {
    name: `xvs ${method.toUpperCase()}`,
    mode,
    packages: [],
    missing: xvsIsMissing,
    start: (lab) => startXvs(lab, { protocol: 'tcp', method, family: 4, mode }),
  };
}

const nftables: Contender = {
  name: 'nftables NAT',
  mode: 'kernel',
  packages: [],
  missing: () => null,
  start: (lab) => startNftables(lab, 'tcp', 4),
};

/** Returns once it listens. */
async function startProxy(lab: TcpLab, name: string, command: string[]): Promise<Running> {
  const child = lab.spawn('front', 'contenderCpu', name, command);
  const sockets = lab.ends.front.host.inside(['ss', '-Hlnt', `sport = ${SERVICE_PORT}`]);
  const listens = async () => child.isOver || (await runCommand(sockets)).stdout.trim() !== '';
  const isThere = await eventually(listens, START_MS);
  if (child.isOver) throw new Error(`${name} ended: ${child.errors || 'no message'}`);
  if (!isThere) throw new Error(`${name} does not listen after ${START_MS} ms: ${child.errors}`);
  return {
    pids: [child.pid],
    async stop() {
      await stopChild(child);
      return '';
    },
  };
}

/** One thread, in TCP mode, all else as it comes. */
const haproxy: Contender = {
  name: 'HAProxy',
  mode: 'proxy',
  packages: ['haproxy'],
  missing: () => (isInstalled('haproxy') ? null : 'haproxy is not installed'),
  start(lab) {
    const file = lab.writeFile(
      'haproxy.cfg',
      `global
  nbthread 1
  maxconn 1000
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend service
  bind ${endpoint(virtual)} backlog 16384
  default_backend servers
backend servers
  server one ${endpoint(server)}
`,
    );
    return startProxy(lab, 'haproxy', ['haproxy', '-db', '-f', file]);
  },
};

/** One worker process, all else as it comes. */
const nginxStream: Contender = {
  name: 'nginx stream',
  mode: 'proxy',
  packages: ['libnginx-mod-stream'],
  missing: () => (existsSync(STREAM_MODULE) ? null : `${STREAM_MODULE} is not there`),
  start(lab) {
    const { directory } = lab;
    const file = lab.writeFile(
      'proxy.conf',
      `load_module ${STREAM_MODULE};
${nginxMain(directory, 'proxy')}
stream {
  server {
    listen ${endpoint(virtual)} backlog=16384;
    proxy_pass ${endpoint(server)};
  }
}
`,
    );
    return startProxy(lab, 'nginx stream', nginxCommand(directory, file));
  },
};

/** In the order in which a round measures them. */
export function contendersOf({ contenders, methods, mode }: Settings): Contender[] {
  const has = (name: string) => contenders.includes(name);
  return [
    ...(has('xvs') ? methods.map((method) => xvs(method, mode)) : []),
    ...(has('nftables') ? [nftables] : []),
    ...(has('haproxy') ? [haproxy] : []),
    ...(has('nginx') ? [nginxStream] : []),
  ];
}
