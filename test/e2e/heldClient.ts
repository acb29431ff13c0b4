/**
 * One TCP connection that stays open: `node heldClient.js ADDRESS PORT`. Each line on stdin sends
 * an HTTP request over it and prints the body of the answer as a line; the end of stdin closes it.
 * When the connection breaks, prints "broken: REASON" and ends with status 1.
 */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const [address = '', port] = process.argv.slice(2);
const socket = connect(Number(port), address);
let text = '';

function broken(reason: string): void {
  process.stdout.write(`broken: ${reason}\n`);
  process.exit(1);
}

socket.setEncoding('utf8');
socket.on('error', (error) => broken(error.message));
socket.on('end', () => broken('the other end closed it'));
socket.on('data', (data: string) => {
  text += data;
  const match = /\r\n\r\n/.exec(text);
  const length = Number(/content-length: *(\d+)/i.exec(text)?.[1] ?? Number.NaN);
  if (match === null || text.length < match.index + 4 + length) return;
  process.stdout.write(`${text.slice(match.index + 4).trim()}\n`);
  text = '';
});
const lines = createInterface({ input: process.stdin });
lines.on('line', () => socket.write(`GET / HTTP/1.1\r\nHost: ${address}\r\n\r\n`));
lines.on('close', () => process.exit(0));
