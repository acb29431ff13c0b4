/** xvs as a contender: the daemon, one UDP service, one real server, one worker. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { eventually, runCommand } from '#xvs/lab/process';
import { PROJECT } from '../support/compile';
import { type Contender, expectedOf, stopChild } from './contender';
import type { WireLab } from './lab';
import { ADDRESSES, endpoint, type Family, type Method, type Mode } from './settings';

const START_MS = 60_000;
const READY_POLL_MS = 50;
const METRICS = '127.0.0.1:9420';
const XVSD = join(PROJECT, 'dist/bin/xvsd.js');

function writeConfig(lab: WireLab, method: Method, family: Family, mode: Mode): string {
  const { front, back } = lab.ends;
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
    workers: { count: 1, cpus: [lab.settings.contenderCpu], mode },
    interfaces: [front, back].map((end) => ({ name: end.interface, xdp: 'native' })),
    services: [service],
  };
  return lab.writeFile('xvs.yaml', stringify(config));
}

export function xvs(method: Method, family: Family, mode: Mode): Contender {
  return {
    name: `xvs ${method} IPv${family}`,
    family,
    mode,
    expected: expectedOf(method, family),
    packages: [],
    missing: () => (existsSync(XVSD) ? null : `${XVSD} is not there: npm run build makes it`),
    async start(lab) {
      const config = writeConfig(lab, method, family, mode);
      const command = [process.execPath, XVSD, '--config', config];
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
          const lines = metrics.stdout.split('\n').filter((line) => /^xvs\S* [1-9]/.test(line));
          return lines.join('\n');
        },
      };
    },
  };
}
