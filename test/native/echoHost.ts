/**
 * A host of the forwarding tests, run inside its namespace. `server ADDRESS PORT` echoes UDP and
 * answers a TCP connection with as many bytes as its first line asks for, then closes; `client
 * ADDRESS PORT DATAGRAMS BYTES` sends that many datagrams one after another, fetches that many
 * bytes, and prints what came.
 */
import { createHash } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const [role, address, portText, datagramText, byteText] = process.argv.slice(2);
const port = Number(portText);

function content(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) buffer[at] = (at * 31 + (at >> 8)) & 0xff;
  return buffer;
}

function serve(): void {
  const udp = createSocket('udp4');
  udp.on('message', (message, from) => udp.send(message, from.port, from.address));
  const tcp = createServer((socket) => {
    socket.once('data', (line) => socket.end(content(Number(line.toString()))));
    socket.on('error', () => socket.destroy());
  });
  udp.bind(port, address, () => {
    tcp.listen(port, address, () => process.stdout.write('ready\n'));
  });
  process.once('SIGTERM', () => process.exit(0));
}

/** Whether the datagram came back the same within a second. */
async function echoed(socket: Socket, length: number): Promise<boolean> {
  const message = content(length);
  const answer = once(socket, 'message', { signal: AbortSignal.timeout(1000) });
  socket.send(message, port, address);
  const received = await answer.catch(() => undefined);
  return received !== undefined && message.equals(received[0]);
}

async function fetchBytes(bytes: number): Promise<string> {
  const socket = connect({ port, host: address! });
  socket.write(`${bytes}\n`);
  const hash = createHash('sha256');
  for await (const part of socket) hash.update(part);
  return hash.digest('hex') === createHash('sha256').update(content(bytes)).digest('hex')
    ? 'same'
    : 'different';
}

async function ask(): Promise<void> {
  const socket = createSocket('udp4');
  let answered = 0;
  for (let count = 0; count < Number(datagramText); count++) {
    if (await echoed(socket, 1 + ((count * 97) % 1472))) answered++;
  }
  socket.close();
  const fetched = Number(byteText) > 0 ? await fetchBytes(Number(byteText)) : 'not asked';
  process.stdout.write(JSON.stringify({ answered, fetched }));
}

if (role === 'server') serve();
else ask();
