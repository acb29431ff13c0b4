/**
 * Run on a host that forwards: `node fragmentSender.js SOURCE MAC DESTINATION PORT KIND COUNT`.
 * Makes fragments and lets this host's kernel forward them from a TAP device, in an order that no
 * sender of its own would choose. The answers come to a socket of this host: SOURCE is its own
 * address.
 *
 *   reversed   COUNT datagrams, the last fragment first; every one has to be answered unchanged
 *   shuffled   the same, eight datagrams' fragments in any order
 *   headless   COUNT fragments without a first one, no answer
 *
 * Prints one JSON object: {sent, answered, wrong}.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { addon } from '#xvs/port/addon';
import { Umem } from '#xvs/port/umem';
import { cut } from '../support/cut';
import { ethernet } from '../support/packet';

const CHUNKS = 16;
const CHUNK_BYTES = 2048;
const FIRST_BYTES = 1480;
const DATAGRAM_BYTES = 9000;
/** Two fragments. */
const HEADLESS_BYTES = 1600;
const SHUFFLED = 8;
/** Of those sent in turn: servers behind a tunnel keep few in their sockets. */
const OUTSTANDING = 3;
const TIMEOUT_MS = 20_000;
const PAUSE_EVERY = 8;

const [source, mac, destination, port, kind, count] = process.argv.slice(2);
const isIpv6 = source!.includes(':');

/** What the addon closes when nobody knows it any more. */
const kept: unknown[] = [];

function createTap(): (frame: Uint8Array) => void {
  const buffer = new SharedArrayBuffer(Umem.bufferBytes(CHUNK_BYTES, CHUNKS));
  const umem = new Umem(buffer, addon.pageOffset(buffer), CHUNK_BYTES, CHUNKS);
  const kernel = addon.createUmem({
    buffer,
    offset: umem.bufferOffset,
    chunkSize: CHUNK_BYTES,
    chunkCount: CHUNKS,
    txMetadata: false,
    free: umem.free,
    clock: umem.clock,
  });
  const tap = addon.openTap('xvsfrag', kernel);
  kept.push(kernel, tap);
  return (frame) => {
    const at = umem.take();
    umem.bytes.set(frame, at);
    if (!tap.write(at, frame.length, 0)) throw new Error('the TAP refused a frame');
    umem.release(at);
  };
}

function payload(number: number): Uint8Array {
  const length = kind === 'headless' ? HEADLESS_BYTES : DATAGRAM_BYTES;
  return Uint8Array.from({ length }, (_, at) => (number * 13 + at * 7) & 0xff);
}

function fragments(number: number, sourcePort: number): Uint8Array[] {
  const builder = ethernet({ destination: mac!, source: '02:00:00:00:00:09' });
  const addresses = { source: source!, destination: destination! };
  const datagram = (isIpv6 ? builder.ipv6(addresses) : builder.ipv4(addresses))
    .udp({ source: sourcePort, destination: Number(port) })
    .payload(payload(number))
    .build();
  return cut(datagram, isIpv6 ? FIRST_BYTES - 32 : FIRST_BYTES, 1 + number);
}

/** In an order that is the same in every run. */
function shuffle(frames: Uint8Array[]): Uint8Array[] {
  let random = 1;
  const places = frames.map((frame) => {
    random = (Math.imul(random, 1103515245) + 12345) | 0;
    return { frame, place: random >>> 8 };
  });
  return places.sort((one, other) => one.place - other.place).map(({ frame }) => frame);
}

/** What is sent of some datagrams, and in which order. */
function ordered(datagrams: Uint8Array[][]): Uint8Array[] {
  if (kind === 'headless') return [datagrams[0]![1]!];
  return kind === 'shuffled' ? shuffle(datagrams.flat()) : datagrams.flat().reverse();
}

async function main(): Promise<void> {
  const write = createTap();
  const socket = createSocket(isIpv6 ? 'udp6' : 'udp4');
  socket.bind(0, source);
  await once(socket, 'listening');
  const { port: own } = socket.address();
  const counts = { sent: 0, answered: 0, wrong: 0 };
  socket.on('message', (answer) => {
    const number = answer.length === 0 ? 0 : expected.findIndex((one) => answer.equals(one));
    if (number < 0) counts.wrong++;
    else counts.answered++;
  });
  const expected = Array.from({ length: Number(count) }, (_, number) => payload(number));
  const step = kind === 'shuffled' ? SHUFFLED : 1;
  const end = Date.now() + TIMEOUT_MS;
  /** The server's socket holds some datagrams only. */
  const outstanding = async (most: number): Promise<void> => {
    if (kind === 'headless') return;
    while (counts.sent - counts.answered > most && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  for (let number = 0; number < expected.length; number += step) {
    const group = Array.from({ length: step }, (_, at) => fragments(number + at, own));
    for (const frame of ordered(group)) write(frame);
    counts.sent += step;
    await outstanding(step === 1 ? OUTSTANDING : 0);
    if (counts.sent % PAUSE_EVERY === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await outstanding(0);
  process.stdout.write(`${JSON.stringify(counts)}\n`);
  process.exit(0);
}

main();
