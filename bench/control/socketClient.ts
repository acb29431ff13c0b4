/**
 * One request a rule over the admin socket, one connection for all: `node socketClient.js SOCKET
 * add|delete SERVICES SERVERS`.
 */
import { Agent, request } from 'node:http';
import type { Command, ServiceKey } from '#xvs/control/protocol';
import { serverOf, serviceOf } from './settings';

const [socketPath = '', operation, services, servers] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function post(command: Command): Promise<void> {
  const body = JSON.stringify(command);
  const headers = { 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const path = '/v1/commands';
    const sent = request({ socketPath, path, method: 'POST', headers, agent }, (answer) => {
      answer.resume();
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve();
        else reject(new Error(`${body}: status ${answer.statusCode}`));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function keyOf(number: number): ServiceKey {
  return { family: 4, protocol: 'tcp', address: serviceOf(number), port: 80, fwmark: 0 };
}

async function add(number: number): Promise<void> {
  const service = keyOf(number);
  await post({
    command: 'add-service',
    service,
    settings: {
      ...{ scheduler: 'rr', persistentTimeout: 0, netmask: '255.255.255.255', onePacket: false },
      ...{ schedulerFlags: [false, false, false], persistenceEngine: '' },
    },
  });
  for (let server = 0; server < Number(servers); server++) {
    await post({
      command: 'add-server',
      service,
      server: { family: 4, address: serverOf(number, server), port: 80 },
      settings: {
        ...{ method: 'nat', weight: 1, upperThreshold: 0, lowerThreshold: 0 },
        tunnel: { type: 'ipip', port: 0, checksum: 'nocsum' },
      },
    });
  }
}

async function main(): Promise<void> {
  for (let number = 0; number < Number(services); number++) {
    if (operation === 'add') await add(number);
    else await post({ command: 'delete-service', service: keyOf(number) });
  }
  agent.destroy();
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
