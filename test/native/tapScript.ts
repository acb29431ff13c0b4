/** Run in a namespace: writes UDP frames to a TAP device and prints which ones were received. */
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { addon, type Tap } from '#xvs/port/addon';
import { makeMemory, takeChunk, thrownBy } from './support';

const ADDRESS = process.argv[2]!;
const SOURCE = '10.99.8.2';
const PORT = 7000;
const NAME = 'xvsntap';
const UDP_AT = 34;

const memory = makeMemory(16);

function sum(from: number, to: number, initial: number): number {
  let total = initial;
  for (let at = from; at < to; at += 2) total += memory.view.getUint16(at);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

type Checksum = 'finished' | 'unfinished' | 'wrong';

/** Writes a UDP datagram to the MAC of some other device, as a worker that passes a frame on. */
function write(tap: Tap, text: string, kind: Checksum): boolean {
  const at = takeChunk(memory);
  const payload = Buffer.from(text.length % 2 === 0 ? text : `${text}\0`);
  const udpBytes = 8 + payload.length;
  const { bytes, view } = memory;
  bytes.set([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0, 0x45, 0], at);
  view.setUint16(at + 16, 20 + udpBytes);
  bytes.set([0, 0, 0, 0, 64, 17, 0, 0], at + 18);
  bytes.set([...SOURCE.split('.').map(Number), ...ADDRESS.split('.').map(Number)], at + 26);
  view.setUint16(at + 24, ~sum(at + 14, at + 34, 0) & 0xffff);
  view.setUint16(at + UDP_AT, 5000);
  view.setUint16(at + UDP_AT + 2, PORT);
  view.setUint16(at + UDP_AT + 4, udpBytes);
  view.setUint16(at + UDP_AT + 6, 0);
  bytes.set(payload, at + UDP_AT + 8);
  const pseudo = sum(at + 26, at + 34, 17 + udpBytes);
  const whole = ~sum(at + UDP_AT, at + UDP_AT + udpBytes, pseudo) & 0xffff;
  const field = { finished: whole, unfinished: pseudo, wrong: whole ^ 1 }[kind];
  view.setUint16(at + UDP_AT + 6, field);
  return tap.write(at, UDP_AT + udpBytes, kind === 'unfinished' ? (UDP_AT << 16) | 6 : 0);
}

function links(): { ifname: string; flags: string[]; addr_info: object[] }[] {
  return JSON.parse(execFileSync('ip', ['-j', 'address'], { encoding: 'utf8' }));
}

async function main(): Promise<void> {
  const server = createSocket('udp4').bind(PORT, ADDRESS);
  await once(server, 'listening');
  const received: string[] = [];
  server.on('message', (message) => received.push(message.toString().replace(/\0$/, '')));
  const tap = addon.openTap(NAME, memory.umem);
  const second = addon.openTap(NAME, memory.umem);
  const shown = links().find((each) => each.ifname === NAME)!;
  write(tap, 'finished', 'finished');
  write(tap, 'unfinished', 'unfinished');
  write(tap, 'wrong', 'wrong');
  write(second, 'second queue', 'unfinished');
  const deadline = Date.now() + 3000;
  while (received.length < 3 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const outside = thrownBy(() => tap.write(16 * 2048 - 10, 60, 0)).message;
  const longName = thrownBy(() => addon.openTap('x'.repeat(16), memory.umem)).message;
  const sameIndex = tap.index === second.index;
  tap.close();
  second.close();
  server.close();
  process.stdout.write(
    JSON.stringify({
      received,
      wrongChecksum: received.includes('wrong') ? 'delivered' : 'not delivered',
      sameIndex,
      flags: shown.flags,
      addresses: shown.addr_info,
      outside,
      longName,
      linksAfterClose: links().map((each) => each.ifname),
    }),
  );
  memory.umem.close();
}

main();
