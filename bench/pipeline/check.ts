/**
 * Is what a row sends what a real server or client must get? Frames are taken apart here, with
 * nothing of the product's own code, and their checksums summed up anew.
 */
import {
  CLIENT_SIDE,
  GATEWAY_MAC_LOW,
  GUE_PORT,
  ownAddress,
  SERVER_MAC_LOW,
  SERVER_PORT,
  serverAddress,
  VIRTUAL_PORT,
  virtualAddress,
} from './director';
import { FLOW } from './frame';
import type { Row } from './row';
import type { Workload } from './workload';
import type { World } from './world';

/** Frames of a pass that are looked at; the others are counted. */
const CHECKED_MAX = 65536;
/** Checksums among them that may look unfinished: flows come again and again. */
const REQUESTS_MAX = 128;
const ETHERNET = 14;
const TTL = 64;
const [TCP, UDP, IPIP, IP6, GRE] = [6, 17, 4, 41, 47];

/** A frame's fields; addresses in hexadecimal. */
interface Fields {
  readonly macHigh: number;
  readonly macLow: number;
  readonly outer: string;
  readonly family: number;
  readonly source: string;
  readonly destination: string;
  readonly ttl: number;
  readonly protocol: number;
  readonly ports: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Checksums: "" when all are right. */
  readonly wrong: string;
}

function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at++) sum += at & 1 ? bytes[at]! : bytes[at]! << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return sum;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

interface Ip {
  readonly family: number;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly ttl: number;
  readonly protocol: number;
  readonly content: Uint8Array;
  readonly wrong: string;
}

function readIp(packet: Uint8Array): Ip {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  if (packet[0]! >> 4 === 4) {
    const headerBytes = (packet[0]! & 15) * 4;
    return {
      family: 4,
      source: packet.subarray(12, 16),
      destination: packet.subarray(16, 20),
      ttl: packet[8]!,
      protocol: packet[9]!,
      content: packet.subarray(headerBytes, view.getUint16(2)),
      wrong: sumOf(packet.subarray(0, headerBytes)) === 0xffff ? '' : 'IPv4 header ',
    };
  }
  return {
    family: 6,
    source: packet.subarray(8, 24),
    destination: packet.subarray(24, 40),
    ttl: packet[7]!,
    protocol: packet[6]!,
    content: packet.subarray(40, 40 + view.getUint16(4)),
    wrong: '',
  };
}

/** What an outer header says, and the packet in it. */
function unwrap({ protocol, content, ...ip }: Ip): { readonly outer: string; readonly inner: Ip } {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const ends = `${hex(ip.source)} > ${hex(ip.destination)} ttl ${ip.ttl}`;
  if (protocol === IPIP || protocol === IP6) {
    return { outer: `ipip ${ends}${ip.wrong}`, inner: readIp(content) };
  }
  if (protocol === GRE) {
    const inner = readIp(content.subarray(4));
    const type = inner.family === 4 ? 0x0800 : 0x86dd;
    const header = view.getUint32(0) === type ? 'gre' : 'gre with another header';
    return { outer: `${header} ${ends}${ip.wrong}`, inner };
  }
  if (protocol !== UDP) return { outer: `protocol ${protocol} ${ends}`, inner: readIp(content) };
  const kind = view.getUint16(2) === GUE_PORT && view.getUint16(6) === 0 ? 'gue' : 'udp';
  return { outer: `${kind} ${ends}${ip.wrong}`, inner: readIp(content.subarray(12)) };
}

function readFrame(frame: Uint8Array, isTunnel: boolean): Fields {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const first = readIp(frame.subarray(ETHERNET));
  const type = view.getUint16(12);
  const { outer, inner } = isTunnel ? unwrap(first) : { outer: '', inner: first };
  const { content, source, destination, protocol } = inner;
  const inside = new DataView(content.buffer, content.byteOffset, content.length);
  const pseudo = Uint8Array.from([...source, ...destination, 0, protocol, 0, content.length]);
  const isRight = sumOf(Uint8Array.from([...pseudo, ...content])) === 0xffff;
  const wrong = `${inner.wrong}${isRight ? '' : 'transport '}`;
  const typed = type === (first.family === 4 ? 0x0800 : 0x86dd) ? wrong : `ethertype ${wrong}`;
  return {
    macHigh: view.getUint32(0),
    macLow: view.getUint16(4),
    outer,
    family: inner.family,
    source: hex(source),
    destination: hex(destination),
    ttl: inner.ttl,
    protocol,
    ports: inside.getUint32(0),
    sequence: inside.getUint32(protocol === TCP ? 4 : 8),
    acknowledgement: protocol === TCP ? inside.getUint32(8) : 0,
    wrong: typed,
  };
}

/** Address words as `hex` shows the bytes. */
function hexOf({ family }: Row, words: Int32Array, at = 0): string {
  const all = [...words.subarray(at, at + (family === 4 ? 1 : 4))];
  return all.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

/** What has to become of a frame that came as `came`. */
function expected(world: World, flow: number, came: Fields, isInbound: boolean): Fields {
  const { row } = world;
  const { words } = world.flows;
  const server = words[flow + FLOW.serverNumber]!;
  const shift = words[flow + FLOW.sequenceDelta]!;
  const ports = (words[flow + FLOW.clientPort]! << 16) | VIRTUAL_PORT;
  const back = { ...came, ttl: TTL - 1 };
  if (!isInbound) {
    return {
      ...back,
      macHigh: 0x02000000 | CLIENT_SIDE,
      macLow: GATEWAY_MAC_LOW,
      source: hexOf(row, virtualAddress(row)),
      destination: hexOf(row, words, flow + FLOW.client),
      ports: ((ports << 16) | (ports >>> 16)) >>> 0,
      acknowledgement: row.protocol === 'tcp' ? (came.acknowledgement - shift) >>> 0 : 0,
    };
  }
  const there = { ...back, macHigh: 0x02000001, macLow: SERVER_MAC_LOW + server };
  const address = hexOf(row, serverAddress(row, server));
  if (row.method === 'dr') return there;
  if (row.method === 'tunnel') {
    const outer = `${row.tunnel} ${hexOf(row, ownAddress(row))} > ${address} ttl ${TTL - 1}`;
    return { ...there, outer };
  }
  const isFullnat = row.method === 'fullnat';
  const port = isFullnat ? words[flow + FLOW.replyPorts]! & 0xffff : ports >>> 16;
  return {
    ...there,
    source: isFullnat ? hexOf(row, words, flow + FLOW.reply) : came.source,
    destination: address,
    ports: ((port << 16) | SERVER_PORT) >>> 0,
    sequence: row.protocol === 'tcp' ? (came.sequence + shift) >>> 0 : came.sequence,
  };
}

/**
 * Does what the port is asked to do: a correct checksum looks unfinished once in 65,536 frames
 * (src/forward/checksum.ts), and is then made anew.
 */
function finishChecksum(frame: Uint8Array, request: number): void {
  if (request === 0) return;
  const [start, field] = [request >>> 16, (request >>> 16) + (request & 0xffff)];
  const sum = ~sumOf(frame.subarray(start)) & 0xffff;
  new DataView(frame.buffer).setUint16(field, sum === 0 ? 0xffff : sum);
}

/** FULLNAT of TCP has to have numbers of its own, or what it costs is not seen. */
function checkFlow({ row, flows }: World, flow: number): void {
  const isShifted = row.method === 'fullnat' && row.protocol === 'tcp';
  const delta = flows.words[flow + FLOW.sequenceDelta]!;
  if (isShifted !== (delta !== 0)) {
    throw new Error(`${row.name}: sequence numbers are shifted by ${delta}`);
  }
}

/** Throws when a frame of one pass is not sent, or not as it has to be. */
export function check(world: World, workload: Workload): void {
  const { row, umem, flows } = world;
  const { frames, stride, order, frameCount } = workload;
  let count = 0;
  let requests = 0;
  workload.pass((frame, offset, lengthBytes, request) => {
    count++;
    if (frame >= CHECKED_MAX) return;
    const flow = flows.at(order[frame]!);
    checkFlow(world, flow);
    const sent = umem.bytes.slice(offset, offset + lengthBytes);
    finishChecksum(sent, request);
    if (request !== 0) requests++;
    const fields = readFrame(sent, row.method === 'tunnel');
    const came = readFrame(frames.slice(frame * stride, (frame + 1) * stride), false);
    const wanted = expected(world, flow, came, workload.isInbound(frame));
    if (JSON.stringify(fields) !== JSON.stringify(wanted)) {
      const [given, right] = [fields, wanted].map((each) => JSON.stringify(each));
      throw new Error(`${row.name}: frame ${frame} became ${given} in place of ${right}`);
    }
  });
  if (requests > REQUESTS_MAX) throw new Error(`${row.name}: ${requests} checksums are requested`);
  if (count !== frameCount) throw new Error(`${row.name}: ${count} of ${frameCount} frames left`);
}
