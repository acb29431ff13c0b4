/**
 * Sends datagrams and expects each back, unchanged: `node udpEchoClient.js ADDRESS PORT COUNT
 * OUTSTANDING BYTES_MAX`. Every one of OUTSTANDING sockets has one datagram on its way; lengths are
 * spread over 1 to BYTES_MAX. Prints one JSON object: {sent, answered, late, wrong}.
 */
import { createSocket, type Socket } from 'node:dgram';

const ANSWER_TIMEOUT_MS = 5000;
/** A datagram in many fragments takes several times its length of it. */
const RECEIVE_BUFFER_BYTES = 1 << 20;
const [address, port, count, outstanding, bytesMax] = process.argv.slice(2);
/** A prime: the lengths of successive datagrams differ, and all come up in time. */
const LENGTH_STEP = 7919;
const counts = { sent: 0, answered: 0, late: 0, wrong: 0 };

function payload(number: number): Buffer {
  const datagram = Buffer.alloc(1 + ((number * LENGTH_STEP) % Number(bytesMax)));
  for (let at = 0; at < datagram.length; at++) datagram[at] = (number * 31 + at * 7) & 0xff;
  return datagram;
}

/** One datagram there and back; after five seconds it counts as lost. */
function exchange(socket: Socket, datagram: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const finish = (outcome: 'answered' | 'late' | 'wrong') => {
      clearTimeout(timer);
      socket.off('message', onMessage);
      counts[outcome]++;
      resolve();
    };
    const onMessage = (answer: Buffer) => finish(answer.equals(datagram) ? 'answered' : 'wrong');
    const timer = setTimeout(finish, ANSWER_TIMEOUT_MS, 'late');
    socket.on('message', onMessage);
    socket.send(datagram);
  });
}

async function converse(): Promise<void> {
  const socket = createSocket(address!.includes(':') ? 'udp6' : 'udp4');
  await new Promise<void>((resolve) => socket.connect(Number(port), address, resolve));
  socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  while (counts.sent < Number(count)) await exchange(socket, payload(counts.sent++));
  socket.close();
}

Promise.all(Array.from({ length: Number(outstanding) }, converse)).then(() => {
  process.stdout.write(`${JSON.stringify(counts)}\n`);
});
