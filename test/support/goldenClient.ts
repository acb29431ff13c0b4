/**
 * The client of goldens/sched: reads orders as JSON lines and does one after another, each from the
 * very address and port that was recorded. Answers each with a line: the server's name, the code
 * of the error, or "timeout".
 */
import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { ClientOrder } from './goldenTopology';

const ANSWER_TIMEOUT_MS = 3000;
const held = new Map<string, Socket>();

function split(endpoint: string): { readonly address: string; readonly port: number } {
  const [address = '', port] = endpoint.split(':');
  return { address, port: Number(port) };
}

/** The client is the first to close; the connection is over when the server has closed too. */
function finish(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    socket.end();
  });
}

function open(client: string, vip: string, hold: boolean): Promise<string> {
  const from = split(client);
  const to = split(vip);
  return new Promise((resolve) => {
    const socket = connect({
      ...{ host: to.address, port: to.port },
      ...{ localAddress: from.address, localPort: from.port },
    });
    const timer = setTimeout(() => {
      socket.destroy();
      resolve('timeout');
    }, ANSWER_TIMEOUT_MS);
    socket.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      resolve(error.code ?? error.message);
    });
    socket.once('data', async (said) => {
      clearTimeout(timer);
      if (hold) held.set(client, socket);
      else await finish(socket);
      resolve(`${said}`.trim());
    });
  });
}

function datagram(client: string, vip: string, length: number): Promise<string> {
  const from = split(client);
  const to = split(vip);
  return new Promise((resolve) => {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    const done = (answer: string) => {
      clearTimeout(timer);
      socket.close(() => resolve(answer));
    };
    const timer = setTimeout(done, ANSWER_TIMEOUT_MS, 'timeout');
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    socket.once('message', (said) => {
      const [name = '', received] = `${said}`.split(':');
      done(received === `${length}` ? name : `${name} received ${received} of ${length}`);
    });
    socket.bind(from.port, from.address, () => {
      socket.connect(to.port, to.address, () => socket.send(Buffer.alloc(length, 'x')));
    });
  });
}

async function close(client: string, how: string): Promise<string> {
  const socket = held.get(client);
  if (socket === undefined) return `no connection of ${client} is held`;
  held.delete(client);
  if (how === 'rst') socket.resetAndDestroy();
  else await finish(socket);
  return how;
}

/** Every held connection is reset, so that its port is free. */
function forget(): string {
  for (const socket of held.values()) socket.resetAndDestroy();
  held.clear();
  return 'forgotten';
}

function obey(order: ClientOrder): Promise<string> | string {
  switch (order.op) {
    case 'tcp':
      return open(order.client, order.vip, order.hold);
    case 'udp':
      return datagram(order.client, order.vip, order.len);
    case 'close':
      return close(order.client, order.how);
    case 'forget':
      return forget();
  }
}

async function main(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${await obey(JSON.parse(line) as ClientOrder)}\n`);
  }
  process.exit(0);
}

void main();
