/**
 * One datagram to an echo server: `node askUdp.js ADDRESS PORT LOCAL_PORT` (0: any). Sends it again
 * a few times while no answer comes; prints the answer with the address it came from, or ends with
 * status 1.
 */
import { createSocket } from 'node:dgram';

const TRIES = 5;
const TRY_MS = 500;
const [address = '', port, localPort] = process.argv.slice(2);
const socket = createSocket('udp4');
let tries = 0;

function send(): void {
  if (tries++ === TRIES) {
    process.stderr.write(`no answer of ${address}:${port} from port ${localPort}\n`);
    process.exit(1);
  }
  socket.send('hello', Number(port), address);
}

socket.on('message', (answer, from) => {
  process.stdout.write(`${answer} ${from.address}:${from.port}\n`);
  process.exit(0);
});
socket.bind(Number(localPort), () => {
  send();
  setInterval(send, TRY_MS);
});
