/**
 * Datagrams to a port that nobody serves: `node refusedUdp.js ADDRESS PORT`. Its socket is
 * connected, so that an ICMP error reaches it. Prints the error's code; status 1 when none came.
 */
import { createSocket } from 'node:dgram';

const TRIES = 10;
const TRY_MS = 300;
const [address = '', port] = process.argv.slice(2);
const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
let tries = 0;

function send(): void {
  if (tries++ === TRIES) process.exit(1);
  socket.send('hello');
}

socket.on('error', (error: NodeJS.ErrnoException) => {
  process.stdout.write(`${error.code}\n`);
  process.exit(0);
});
socket.on('message', (answer) => process.stdout.write(`${answer}\n`, () => process.exit(1)));
socket.connect(Number(port), address, () => {
  send();
  setInterval(send, TRY_MS);
});
