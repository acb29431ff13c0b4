/**
 * A real server as goldens/sched had them: `node goldenServer.js NAME READY`. On TCP it says its
 * name on connect, a datagram it answers with NAME:LENGTH. READY is a file, made when it listens.
 */
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';

const PORTS = [80, 8000, 8001] as const;
const [name, readyFile] = process.argv.slice(2);
let waited = PORTS.length * 2;

function listening(): void {
  waited--;
  if (waited === 0) writeFileSync(readyFile!, '');
}

for (const port of PORTS) {
  const server = createServer((socket) => {
    // A client that resets is an end like any other.
    socket.on('error', () => socket.destroy());
    socket.on('data', () => undefined);
    socket.write(`${name}\n`);
  });
  server.listen(port, '0.0.0.0', listening);
  const datagrams = createSocket('udp4');
  datagrams.on('message', (datagram, from) => {
    datagrams.send(`${name}:${datagram.length}`, from.port, from.address);
  });
  datagrams.bind(port, '0.0.0.0', listening);
}
process.once('SIGTERM', () => process.exit(0));
