/**
 * Every tunnel around every packet: what the real server unpacks is what came, a hop older, with
 * the checksums right that the sender's were, and all of the outer header as IPVS has it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  encapsulate,
  flowPort,
  innerChecksum,
  OuterHeader,
  tunnelOverhead,
} from '#xvs/forward/tunnel';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { finishChecksum, MemoryPort } from '#xvs/port/memoryPort';
import { Umem } from '#xvs/port/umem';
import {
  TUNNEL_CHECKSUM,
  TUNNEL_GRE,
  TUNNEL_GUE,
  TUNNEL_IPIP,
  TUNNEL_REMOTE_CHECKSUM,
  TUNNEL_WITHOUT_CHECKSUM,
} from '#xvs/table/realServer';
import { FRAGMENT_FIRST, FRAGMENT_LATER, FRAGMENT_NONE, Packet } from '#xvs/worker/packet';
import { decapsulate } from '../../support/decapsulate';
import { type Checksum, ethernet, internetChecksum, onesSum } from '../../support/packet';

const SOURCE4 = '10.0.2.1';
const SERVER4 = '10.0.2.11';
const SOURCE6 = 'fd00:2::1';
const SERVER6 = 'fd00:2::11';
const GUE_PORT = 6080;
const FLOW_PORT = 45678;
const ID = 0x4321;

const KINDS = [
  { type: TUNNEL_IPIP, checksum: TUNNEL_WITHOUT_CHECKSUM, bytes: 0 },
  { type: TUNNEL_GUE, checksum: TUNNEL_WITHOUT_CHECKSUM, bytes: 12 },
  { type: TUNNEL_GUE, checksum: TUNNEL_CHECKSUM, bytes: 12 },
  { type: TUNNEL_GUE, checksum: TUNNEL_REMOTE_CHECKSUM, bytes: 12 },
  { type: TUNNEL_GRE, checksum: TUNNEL_WITHOUT_CHECKSUM, bytes: 4 },
  { type: TUNNEL_GRE, checksum: TUNNEL_CHECKSUM, bytes: 8 },
] as const;
const NAMES = ['ipip', 'gue', 'gre'] as const;

type Kind = (typeof KINDS)[number];

function outerHeader(family: 4 | 6, kind: Kind): OuterHeader {
  const outer = new OuterHeader();
  outer.family = family;
  outer.type = kind.type;
  outer.port = kind.type === TUNNEL_GUE ? GUE_PORT : 0;
  outer.checksum = kind.checksum;
  if (family === 4) {
    outer.source0 = parseIpv4(SOURCE4);
    outer.destination0 = parseIpv4(SERVER4);
    return outer;
  }
  addressWords(SOURCE6).forEach((word, at) => {
    outer[`source${at}` as 'source0'] = word;
  });
  addressWords(SERVER6).forEach((word, at) => {
    outer[`destination${at}` as 'destination0'] = word;
  });
  return outer;
}

interface Sample {
  readonly family: 4 | 6;
  readonly protocol: 'tcp' | 'udp' | 'other';
  readonly checksum: Checksum;
  readonly payload: Uint8Array;
  readonly tos: number;
  readonly ttl: number;
  /** Bytes behind the UDP datagram, inside the IP packet. */
  readonly trailer: boolean;
  readonly fragment: number;
}

/** The content of an IPv6 packet is built as IPv4's is; only the pseudo header differs. */
function ipv6Frame(one: Sample): Uint8Array {
  const addresses = Buffer.from(
    'fd000001000000000000000000000100fd000100000000000000000000000001',
    'hex',
  );
  const start = ethernet().ipv4();
  const built = (one.protocol === 'tcp' ? start.tcp({ checksum: 0 }) : start.udp({ checksum: 0 }))
    .payload(one.payload)
    .build()
    .subarray(34);
  const content = Uint8Array.from([...built, ...(one.trailer ? [1, 2, 3] : [])]);
  const protocol = { tcp: 6, udp: 17, other: 253 }[one.protocol];
  const place = one.protocol === 'tcp' ? 16 : 6;
  if (one.protocol !== 'other' && one.checksum !== 0) {
    const pseudo = onesSum(
      Uint8Array.from([
        ...addresses,
        0,
        0,
        built.length >> 8,
        built.length & 255,
        0,
        0,
        0,
        protocol,
      ]),
    );
    const sum = internetChecksum(built, pseudo) || 0xffff;
    const value = { correct: sum, unfinished: pseudo }[one.checksum as string];
    new DataView(content.buffer).setUint16(place, value ?? Number(one.checksum));
  }
  const header = Buffer.alloc(40);
  header.writeUInt32BE((0x60000000 | (one.tos << 20) | 0x12345) >>> 0, 0);
  header.writeUInt16BE(content.length, 4);
  header[6] = protocol;
  header[7] = one.ttl;
  header.set(addresses, 8);
  return ethernet({ type: 0x86dd })
    .payload(Uint8Array.from([...header, ...content]))
    .build();
}

function ipv4Frame(one: Sample): Uint8Array {
  const trailerBytes = one.trailer ? 3 : 0;
  const fields = {
    tos: one.tos,
    ttl: one.ttl,
    fragment: [0x4000, 0x2000, 0x2010][one.fragment]!,
    ...(one.protocol === 'other' ? { protocol: 253 } : {}),
  };
  const bytes = Uint8Array.from([...one.payload, ...new Uint8Array(trailerBytes).fill(7)]);
  const start = ethernet().ipv4(fields);
  if (one.protocol === 'other') return start.payload(bytes).build();
  if (one.protocol === 'tcp') return start.tcp({ checksum: one.checksum }).payload(bytes).build();
  const length = 8 + one.payload.length;
  return start.udp({ checksum: one.checksum, length }).payload(bytes).build();
}

interface Tunnelled {
  readonly came: Uint8Array;
  readonly left: Uint8Array;
  readonly request: number;
}

/** The frame as it leaves, its checksum request carried out. */
function tunnel(one: Sample, outer: OuterHeader, fragment: number): Tunnelled {
  const came = one.family === 4 ? ipv4Frame(one) : ipv6Frame(one);
  const umem = new Umem(new SharedArrayBuffer(Umem.bufferBytes(4096, 1)), 0, 4096, 1);
  const at = umem.take();
  umem.bytes.fill(0xaa);
  umem.bytes.set(came, at);
  const packet = new Packet(new MemoryPort('d0', 0, umem));
  packet.at = at;
  packet.ip = at + 14;
  packet.family = one.family;
  packet.total = came.length - 14;
  packet.transport = packet.ip + (one.family === 4 ? 20 : 40);
  packet.protocol = one.family === 4 ? came[23]! : came[20]!;
  packet.fragment = one.family === 4 ? one.fragment : FRAGMENT_NONE;
  const checksum = innerChecksum(umem.view, packet);
  const overhead = tunnelOverhead(outer, checksum !== 0);
  const id = fragment === 0 ? ID : 0;
  const request = encapsulate(umem.view, packet, outer, checksum, id, fragment, FLOW_PORT);
  assert.equal(packet.at, at - overhead);
  assert.equal(packet.total, came.length - 14 + overhead);
  const length = 14 + packet.total;
  assert.ok(
    umem.bytes.subarray(0, packet.at).every((byte) => byte === 0xaa),
    'nothing is written in front of the frame',
  );
  assert.ok(umem.bytes.subarray(packet.at + length).every((byte) => byte === 0xaa));
  finishChecksum(umem.view, packet.at, length, request);
  return { came, left: umem.bytes.slice(packet.at, packet.at + length), request };
}

/** What the server must find inside, byte by byte. */
function expectedInner(one: Sample): Uint8Array {
  const isFinished = one.checksum === 'unfinished' && one.fragment === FRAGMENT_NONE;
  const older = { ...one, ttl: one.ttl - 1, ...(isFinished ? { checksum: 'correct' } : {}) };
  const frame = one.family === 4 ? ipv4Frame(older as Sample) : ipv6Frame(older as Sample);
  return frame.subarray(14);
}

const sample: fc.Arbitrary<Sample> = fc
  .record({
    family: fc.constantFrom(4 as const, 6 as const),
    protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'other' as const),
    checksum: fc.constantFrom<Checksum>('correct', 'unfinished', 0),
    payload: fc.uint8Array({ maxLength: 120, size: 'max' }),
    tos: fc.integer({ min: 0, max: 255 }),
    ttl: fc.integer({ min: 2, max: 255 }),
    trailer: fc.boolean(),
    fragment: fc.constantFrom(FRAGMENT_NONE, FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER),
  })
  .map((one) => ({
    ...one,
    // A TCP segment ends where its packet does; a sender that fragments has finished its sums.
    trailer: one.trailer && one.protocol === 'udp' && one.checksum !== 'unfinished',
    checksum:
      (one.fragment !== FRAGMENT_NONE && one.checksum === 'unfinished') ||
      (one.protocol === 'tcp' && one.checksum === 0)
        ? 'correct'
        : one.checksum,
    fragment: one.family === 6 ? FRAGMENT_NONE : one.fragment,
  }));

const outerTos = (tos: number): number => ((tos & 3) === 3 ? (tos & ~3) | 2 : tos);

test('what a real server unpacks is what came, a hop older, in every tunnel', () => {
  fc.assert(
    fc.property(
      sample,
      fc.constantFrom(...KINDS),
      fc.constantFrom(4 as const, 6 as const),
      fc.constantFrom(0, 0x4000),
      (one, kind, outerFamily, fragment) => {
        const outer = outerHeader(outerFamily, kind);
        const { left } = tunnel(one, outer, fragment);
        const found = decapsulate(left);
        assert.deepEqual(Buffer.from(found.inner), Buffer.from(expectedInner(one)));
        const isRemote =
          kind.checksum === TUNNEL_REMOTE_CHECKSUM &&
          one.checksum === 'unfinished' &&
          one.protocol !== 'other';
        const bytes = (outerFamily === 4 ? 20 : 40) + kind.bytes + (isRemote ? 8 : 0);
        const words = (text: string): string =>
          Buffer.from(Int32Array.from(addressWords(text), swap).buffer).toString('hex');
        assert.deepEqual(
          { ...found, inner: undefined },
          {
            family: outerFamily,
            kind: NAMES[kind.type],
            source: outerFamily === 4 ? SOURCE4 : words(SOURCE6),
            destination: outerFamily === 4 ? SERVER4 : words(SERVER6),
            tos: outerTos(one.tos),
            ttl: one.ttl - 1,
            id: outerFamily === 4 && fragment === 0 ? ID : 0,
            fragment: outerFamily === 4 ? fragment : 0,
            headerChecksum: outerFamily === 4 ? 'correct' : 'none',
            checksum: kind.checksum === TUNNEL_WITHOUT_CHECKSUM ? 'none' : 'correct',
            sourcePort: kind.type === TUNNEL_GUE ? FLOW_PORT : 0,
            destinationPort: kind.type === TUNNEL_GUE ? GUE_PORT : 0,
            isRemote,
            innerFamily: one.family,
            inner: undefined,
            overhead: bytes,
          },
        );
      },
    ),
    { numRuns: 2000 },
  );
});

function swap(word: number): number {
  const bytes = new DataView(new ArrayBuffer(4));
  bytes.setInt32(0, word);
  return bytes.getInt32(0, true);
}

const PLAIN: Sample = {
  family: 4,
  protocol: 'tcp',
  checksum: 'correct',
  payload: Uint8Array.from([1, 2, 3]),
  tos: 0,
  ttl: 64,
  trailer: false,
  fragment: FRAGMENT_NONE,
};

test('an unfinished checksum is finished once: inside, or by the receiver', () => {
  const unfinished: Sample = { ...PLAIN, checksum: 'unfinished' };
  const requests = KINDS.map((kind) => {
    const { request } = tunnel(unfinished, outerHeader(4, kind), 0x4000);
    return [request >>> 16, request & 0xffff];
  });
  const inner = (bytes: number): number[] => [14 + 20 + bytes + 20, 16];
  assert.deepEqual(requests, [inner(0), inner(12), inner(12), [14 + 20, 6], inner(4), inner(8)]);
  for (const kind of KINDS) {
    assert.equal(tunnel(PLAIN, outerHeader(4, kind), 0x4000).request, 0, 'nothing is left to do');
  }
});

test('a wrong inner checksum stays wrong, and shows in the outer one', () => {
  const wrong: Sample = { ...PLAIN, checksum: 0x1234 };
  for (const kind of KINDS) {
    const found = decapsulate(tunnel(wrong, outerHeader(4, kind), 0).left);
    assert.deepEqual(Buffer.from(found.inner), Buffer.from(expectedInner(wrong)));
    assert.equal(found.checksum, kind.checksum === TUNNEL_WITHOUT_CHECKSUM ? 'none' : 'wrong');
  }
});

test('ports of flows lie in the range of the kernel, and spread over it', () => {
  const seen = new Map<number, number>();
  for (let client = 0; client < 20_000; client++) {
    const port = flowPort(Math.imul(client, 0x10001) ^ 0x0a000164);
    assert.ok(port >= 32768 && port <= 60999, `port ${port}`);
    const part = Math.floor((port - 32768) / 1765);
    seen.set(part, (seen.get(part) ?? 0) + 1);
  }
  assert.equal(seen.size, 16);
  for (const count of seen.values()) assert.ok(count > 900 && count < 1600, `${count} of 1250`);
});
