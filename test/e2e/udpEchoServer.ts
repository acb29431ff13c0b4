/**
 * A UDP server that sends every datagram back: `node udpEchoServer.js ADDRESS PORT`. Says "ready"
 * in the file READY when it listens.
 */
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';

const [address, port, readyFile] = process.argv.slice(2);
const socket = createSocket(address!.includes(':') ? 'udp6' : 'udp4');
socket.on('message', (datagram, from) => {
  socket.send(datagram, from.port, from.address);
});
/** A datagram in many fragments takes several times its length of it; where allowed, that is. */
const RECEIVE_BUFFER_BYTES = 1 << 20;
socket.bind(Number(port), address, () => {
  socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  writeFileSync(readyFile!, 'ready');
});
process.once('SIGTERM', () => process.exit(0));
