/**
 * The real server of the decapsulation tests, run inside its namespace: `PORT ADDRESS...` echoes
 * UDP on each address, and listens for TCP there, so that the kernel answers a SYN.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

async function serve(port: number, addresses: readonly string[]): Promise<void> {
  for (const address of addresses) {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('message', (message, from) => socket.send(message, from.port, from.address));
    socket.bind(port, address);
    await once(socket, 'listening');
    const server = createServer((connection) => connection.on('error', () => undefined));
    server.listen(port, address);
    await once(server, 'listening');
  }
  process.stdout.write('ready\n');
}

const [port, ...addresses] = process.argv.slice(2);
void serve(Number(port), addresses);
