/** Cutting packets to the MTU: what comes out is put together again and compared. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Umem } from '#xvs/port/umem';
import { COUNTER, DROP } from '#xvs/table/counter';
import { Splitter } from '#xvs/worker/split';
import { decode } from '../../support/decode';
import { ethernet } from '../../support/packet';
import { reassemble } from '../../support/reassemble';

const CHUNKS = 64;
const CHUNK_BYTES = 4096;
const ETHERNET_BYTES = 14;

interface Bench {
  readonly umem: Umem;
  readonly splitter: Splitter;
  readonly counters: Float64Array;
  /** Puts a frame in a chunk, as if it had been received. */
  place(frame: Uint8Array): number;
  /** Cuts it; undefined when it was refused. Gives all chunks back. */
  cut(frame: Uint8Array, mtu: number, request?: number): Uint8Array[] | undefined;
}

function bench(chunks = CHUNKS): Bench {
  const bytes = Umem.bufferBytes(CHUNK_BYTES, chunks);
  const umem = new Umem(new SharedArrayBuffer(bytes), 0, CHUNK_BYTES, chunks);
  const counters = new Float64Array(64);
  const splitter = new Splitter(umem, counters, 0);
  const place = (frame: Uint8Array): number => {
    const at = umem.take();
    umem.bytes.set(frame, at);
    return at;
  };
  const cut = (frame: Uint8Array, mtu: number, request = 0): Uint8Array[] | undefined => {
    const free = umem.freeCount;
    const at = place(frame);
    const count = splitter.cut(at, frame.length, request, mtu);
    if (count === 0) {
      assert.deepEqual(umem.bytes.slice(at, at + frame.length), Uint8Array.from(frame));
      umem.release(at);
      assert.equal(umem.freeCount, free, 'nothing was taken');
      return undefined;
    }
    const pieces = Array.from({ length: count }, (_, piece) => {
      const frameAt = splitter.frames[piece]!;
      return umem.bytes.slice(frameAt, frameAt + splitter.lengths[piece]!);
    });
    for (let piece = 0; piece < count; piece++) umem.release(splitter.frames[piece]!);
    assert.equal(umem.freeCount, free, 'each piece has a chunk of its own');
    assert.equal(new Set(umem.free.subarray(1, free + 1)).size, free);
    return pieces;
  };
  return { umem, splitter, counters, place, cut };
}

const content = (bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, at) => (at * 7 + (at >> 8)) & 0xff);
const packetBytes = (frame: Uint8Array): number => frame.length - ETHERNET_BYTES;

test('the pieces of an IPv4 packet fit, and are the packet', () => {
  const { cut } = bench();
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 3700 }),
      fc.integer({ min: 200, max: 3900 }),
      fc.integer({ min: 0, max: 10 }),
      (bytes, mtu, optionWords) => {
        const options = new Uint8Array(optionWords * 4).fill(1);
        const frame = ethernet().ipv4({ options }).udp().payload(content(bytes)).build();
        const pieces = cut(frame, mtu);
        assert.ok(pieces);
        for (const piece of pieces) assert.ok(packetBytes(piece) <= mtu);
        if (packetBytes(frame) <= mtu) assert.equal(pieces.length, 1);
        assert.deepEqual(reassemble(pieces), [Uint8Array.from(frame)]);
      },
    ),
  );
});

test('pieces are as long as can be, the last one too', () => {
  const { cut, counters } = bench();
  const frame = ethernet().ipv4().udp().payload(content(1492)).build();
  // 1500 bytes of data at an MTU of 1480: as the kernel cuts it.
  const lengths = cut(frame, 1480)?.map(packetBytes);
  assert.deepEqual(lengths, [20 + 1456, 20 + 44]);
  // 1460 bytes behind the header fit the last piece, though no other may be that long.
  const odd = ethernet()
    .ipv4()
    .udp()
    .payload(content(1456 + 1460 - 8))
    .build();
  assert.deepEqual(cut(odd, 1480)?.map(packetBytes), [1476, 1480]);
  assert.equal(counters[COUNTER.packets_split], 2);
});

test('a fragment is cut again: offsets go on, the last piece has "more" if it had', () => {
  const { cut } = bench();
  for (const more of [0, 0x2000]) {
    const fragment = more | 100;
    const frame = ethernet().ipv4({ fragment, protocol: 17 }).payload(content(1000)).build();
    const words = cut(frame, 520)?.map((piece) => decode(piece)['ipv4.fragment']);
    assert.deepEqual(words, [0x2000 | 100, 0x2000 | 162, more | 224]);
  }
});

test('only options that are to be copied stand in the later pieces', () => {
  const { cut } = bench();
  // Record route (7, not copied), loose source route (0x83, copied), end of options.
  const options = Uint8Array.from([7, 7, 4, 1, 2, 3, 4, 0x83, 3, 4, 0, 0]);
  const frame = ethernet().ipv4({ options }).udp().payload(content(1000)).build();
  const pieces = cut(frame, 600)!.map(decode);
  assert.equal(pieces.length, 2);
  assert.equal(pieces[0]!['ipv4.options'], Buffer.from(options).toString('hex'));
  assert.equal(pieces[1]!['ipv4.options'], '01010101010101830304'.padEnd(24, '0'));
  for (const piece of pieces) assert.equal(piece['ipv4.checksumIs'], 'correct');
});

test('options that lie about their length are left alone', () => {
  const { cut } = bench();
  for (const option of [
    [7, 0, 0, 0],
    [7, 200, 0, 0],
    [1, 1, 1, 7],
  ]) {
    const options = Uint8Array.from(option);
    const frame = ethernet().ipv4({ options }).udp().payload(content(1000)).build();
    const pieces = cut(frame, 600)!.map(decode);
    assert.equal(pieces[1]!['ipv4.options'], Buffer.from(options).toString('hex'));
  }
});

test('an unfinished checksum is finished over all of the packet first', () => {
  const { cut } = bench();
  for (const [kind, offset] of [
    ['udp', 6],
    ['tcp', 16],
  ] as const) {
    const build = (checksum: 'correct' | 'unfinished') =>
      ethernet().ipv4()[kind]({ checksum }).payload(content(3001)).build();
    const pieces = cut(build('unfinished'), 1500, ((ETHERNET_BYTES + 20) << 16) | offset);
    assert.deepEqual(reassemble(pieces!), [build('correct')]);
  }
});

test('a packet without an id gets one, and each another', () => {
  const { cut } = bench();
  const frame = ethernet().ipv4({ id: 0 }).udp().payload(content(1000)).build();
  const ids = Array.from({ length: 3 }, () => {
    const own = new Set(cut(frame, 600)!.map((piece) => decode(piece)['ipv4.id']));
    assert.equal(own.size, 1, 'one id for all pieces');
    return [...own][0];
  });
  assert.equal(new Set(ids).size, 3);
  assert.ok(!ids.includes(0));
});

test('"don’t fragment", an MTU below what links must carry, foreign types: refused', () => {
  const { cut, splitter } = bench();
  const frames = [
    [ethernet().ipv4({ fragment: 0x4000 }).udp().payload(content(1000)).build(), 600],
    [ethernet().ipv4().udp().payload(content(1000)).build(), 67],
    [ethernet({ type: 0x0806 }).payload(content(1000)).build(), 600],
    [ethernet().ipv6().tcp().payload(content(2000)).build(), 1500],
    [ethernet().ipv6().udp().payload(content(2000)).build(), 1279],
  ] as const;
  for (const [frame, mtu] of frames) {
    splitter.verdict = -1;
    assert.equal(cut(frame, mtu), undefined);
    assert.equal(splitter.verdict, DROP.mtu_exceeded);
  }
});

test('without chunks for all pieces none leaves', () => {
  const { cut, splitter, place } = bench(4);
  const frame = ethernet().ipv4().udp().payload(content(2000)).build();
  assert.equal(cut(frame, 600)?.length, 4);
  place(frame);
  assert.equal(cut(frame, 600), undefined);
  assert.equal(splitter.verdict, DROP.no_chunk);
});

test('the outer packet of a tunnel is cut in IPv6 too, with one id', () => {
  const { cut } = bench();
  fc.assert(
    fc.property(
      fc.integer({ min: 1300, max: 3700 }),
      fc.integer({ min: 1280, max: 1500 }),
      fc.constantFrom(4, 41, 47, 17),
      (bytes, mtu, protocol) => {
        const frame = ethernet().ipv6({ protocol }).payload(content(bytes)).build();
        const pieces = cut(frame, mtu);
        assert.ok(pieces);
        for (const piece of pieces) assert.ok(packetBytes(piece) <= mtu);
        if (packetBytes(frame) > mtu) assert.deepEqual(reassemble(pieces), [frame]);
      },
    ),
  );
});
