/**
 * The buckets of IPv4 endpoints that the XDP program reads: whatever is added and taken away, also
 * when a bucket is full and when the kernel refuses a write, what a bucket says is what there is,
 * or that it does not know; and real configurations find room.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bucketOf, RedirectBuckets } from '#xvs/control/redirectBuckets';

const BUCKETS = 65536;
const BUCKET_WORDS = 16;
const LEFT_OUT = 15;
const TCP = 6;
const UDP = 17;
const KIND_USED = 128;
/** As the machine reads 10.0.0.1. */
const ADDRESS = 0x0100000a;

/** Words of a key of the maps that are followed: address, then port, protocol and family. */
type Endpoint = Int32Array;

interface Layout {
  readonly map: string;
  readonly family: number;
  readonly addressWords: number;
  readonly entries: number;
}
const LAYOUTS: readonly Layout[] = [
  { map: 'endpoints4', family: 4, addressWords: 1, entries: 7 },
  { map: 'endpoints6', family: 6, addressWords: 4, entries: 3 },
];

/** `port`: as the machine reads it from a frame. */
function endpointOf(layout: Layout, address: number, port: number, protocol = TCP): Endpoint {
  const words = new Int32Array(5);
  words[layout.addressWords - 1] = address;
  words[4] = port | (protocol << 16) | (layout.family << 24);
  return words;
}

function bucketOfKey({ addressWords }: Layout, key: Endpoint): number {
  return bucketOf(key, 0, addressWords, key[4]! & 0xffffff);
}

/** The kernel's maps. */
class Kernel {
  readonly values = new Map<string, Int32Array>();
  writes = 0;
  /** Buckets that are written before one is refused. */
  left = Number.POSITIVE_INFINITY;
  /** Called whenever a word of a bucket has changed: a frame may come at any time. */
  written: () => void = () => {};

  mapUpdateMany(map: string, keys: Uint8Array, values: Uint8Array): void {
    const words = new Int32Array(values.slice().buffer);
    for (const [at, bucket] of new Uint32Array(keys.slice().buffer).entries()) {
      if (this.left-- <= 0) throw new Error('ENOMEM');
      this.writes++;
      const id = `${map} ${bucket}`;
      const value = this.values.get(id) ?? new Int32Array(BUCKET_WORDS);
      this.values.set(id, value);
      for (let word = 0; word < BUCKET_WORDS; word++) {
        const wanted = words[at * BUCKET_WORDS + word]!;
        if (value[word] === wanted) continue;
        value[word] = wanted;
        this.written();
      }
    }
  }

  /** As native/xsk-napi/bpf/endpoints.h asks; null: it does not know. */
  kindsOf(layout: Layout, key: Endpoint): number | null {
    const { map, addressWords, entries } = layout;
    const value = this.values.get(`${map} ${bucketOfKey(layout, key)}`);
    if (value === undefined) return 0;
    for (let index = 0; index < entries; index++) {
      const entry = value.subarray(index * (addressWords + 1), (index + 1) * (addressWords + 1));
      const rest = entry[addressWords]!;
      if (rest >>> 24 === 0) break;
      const isAddress = entry.subarray(0, addressWords).every((word, at) => word === key[at]);
      const kinds = rest >>> 24;
      // A place that is being written over may look like another endpoint that is gone.
      if (isAddress && (rest & 0xffffff) === (key[4]! & 0xffffff) && kinds !== KIND_USED) {
        assert.ok((kinds & KIND_USED) !== 0);
        return kinds & ~KIND_USED;
      }
    }
    return value[LEFT_OUT] === 0 ? 0 : null;
  }
}

/** Endpoints of one bucket: ports of a few addresses. */
function crowd(layout: Layout, count: number): Endpoint[] {
  const found: Endpoint[] = [];
  const bucket = bucketOfKey(layout, endpointOf(layout, ADDRESS, 80));
  for (let number = 0; found.length < count; number++) {
    const key = endpointOf(layout, ADDRESS + (number & 31), (80 + (number >> 5)) & 0xffff);
    if (bucketOfKey(layout, key) === bucket) found.push(key);
  }
  return found;
}

/** Three maps: where their values stand in the kinds. */
const MAPS = [
  { shift: 0, values: [0, 1] },
  { shift: 1, values: [0, 1, 2, 3] },
  { shift: 3, values: [0, 1, 2, 3] },
] as const;

const STEPS = fc.array(
  fc.record({
    endpoint: fc.nat(11),
    map: fc.nat(MAPS.length - 1),
    value: fc.nat(3),
    refusedAfter: fc.option(fc.nat(2), { freq: 9 }),
  }),
  { maxLength: 100, size: 'max' },
);

class Stand {
  readonly kernel = new Kernel();
  readonly buckets = new RedirectBuckets(this.kernel);
  readonly followers = MAPS.map(({ shift }) => this.buckets.ofEndpoints(shift));
  /** By endpoint, then by map. */
  readonly held: number[][];
  /** Those whose kinds have changed since the last commit that went well. */
  readonly changed = new Set<number>();
  readonly layout: Layout;
  readonly endpoints: readonly Endpoint[];

  constructor(layout: Layout, endpoints: readonly Endpoint[]) {
    this.layout = layout;
    this.endpoints = endpoints;
    this.held = endpoints.map(() => MAPS.map(() => 0));
  }

  set(endpoint: number, map: number, value: number): void {
    const before = this.held[endpoint]![map]!;
    if (before === value) return;
    this.followers[map]!.change(this.endpoints[endpoint]!, 0, before, value);
    this.held[endpoint]![map] = value;
    this.changed.add(endpoint);
  }

  commit(): void {
    this.followers[0]!.commit();
    this.changed.clear();
    this.check();
  }

  /** How often the kernel did not know of an endpoint; those that stay are never missed. */
  check(): number {
    let unknown = 0;
    for (const [at, one] of this.endpoints.entries()) {
      if (this.changed.has(at)) continue;
      const told = this.kernel.kindsOf(this.layout, one);
      const kinds = this.held[at]!.reduce(
        (sum, value, map) => sum | (value << MAPS[map]!.shift),
        0,
      );
      if (told === null) unknown++;
      else assert.equal(told, kinds, `endpoint ${at}`);
    }
    return unknown;
  }
}

for (const layout of LAYOUTS) {
  test(`a bucket says what there is, or that it does not know, ${layout.map}`, () => {
    // Some more than one has room for, and the address 0.
    const endpoints = [
      ...crowd(layout, 9),
      endpointOf(layout, 0, 80),
      endpointOf(layout, ADDRESS, 443),
      endpointOf(layout, ADDRESS, 0, 0),
    ];
    let unknown = 0;
    let commits = 0;
    let refusals = 0;
    const property = fc.property(STEPS, (steps) => {
      const stand = new Stand(layout, endpoints);
      stand.kernel.written = () => stand.check();
      for (const [step, { endpoint, map, value, refusedAfter }] of steps.entries()) {
        const { values } = MAPS[map]!;
        stand.set(endpoint, map, values[value % values.length]!);
        // Many changes in a commit, too.
        if (step % 3 === 0) continue;
        stand.kernel.left = refusedAfter ?? Number.POSITIVE_INFINITY;
        try {
          stand.commit();
        } catch (error) {
          assert.equal((error as Error).message, 'ENOMEM');
          refusals++;
          continue;
        }
        unknown += stand.check();
        commits++;
      }
      // When all are gone it knows again.
      for (const at of endpoints.keys()) for (const map of MAPS.keys()) stand.set(at, map, 0);
      stand.kernel.left = Number.POSITIVE_INFINITY;
      stand.commit();
      assert.equal(stand.check(), 0);
    });
    fc.assert(property, { numRuns: 100 });
    assert.ok(unknown > 100 && unknown < commits * endpoints.length * 0.9, `${unknown} ${commits}`);
    assert.ok(refusals > 10, `${refusals}`);
  });

  test(`one more than there is room for is left out until it comes again, ${layout.map}`, () => {
    const { entries } = layout;
    const stand = new Stand(layout, crowd(layout, entries + 1));
    const kinds = () => stand.endpoints.map((one) => stand.kernel.kindsOf(layout, one));
    const known = new Array<number>(entries - 1).fill(1);
    for (const at of stand.endpoints.keys()) stand.set(at, 0, 1);
    stand.commit();
    assert.deepEqual(kinds(), [1, ...known, null]);
    stand.set(0, 0, 0);
    stand.commit();
    assert.deepEqual(kinds(), [null, ...known, null]);
    stand.set(entries, 0, 0);
    stand.set(entries, 0, 1);
    stand.commit();
    assert.deepEqual(kinds(), [0, ...known, 1]);
    const before = stand.kernel.writes;
    stand.commit();
    assert.equal(stand.kernel.writes, before, 'nothing changed, nothing is written');
  });
}

/** `count` endpoints, each by address and port in host order. */
function network(
  layout: Layout,
  count: number,
  of: (index: number) => readonly [number, number],
): Endpoint[] {
  return Array.from({ length: count }, (_none, index) => {
    const bytes = Buffer.alloc(6);
    const [address, port] = of(index);
    bytes.writeUInt32BE(address);
    bytes.writeUInt16BE(port, 4);
    return endpointOf(layout, bytes.readInt32LE(), bytes.readUInt16LE(4));
  });
}

/** Of many endpoints a share must not be known of; of IPv6 a bucket has room for three. */
const FEW = { endpoints4: 65_535, endpoints6: 8192 };
const LEFT_OUT_MOST = 0.02;

test('real configurations find room', () => {
  const base = 0x0a000000;
  for (const layout of LAYOUTS) {
    const count = FEW[layout.map as keyof typeof FEW];
    const configurations: Record<string, Endpoint[]> = {
      'ports of one address': network(layout, count, (index) => [base + 1, index + 1]),
      'addresses in a row': network(layout, count, (index) => [base + index, 80]),
      'addresses, each in a network': network(layout, count / 4, (at) => [base + at * 256, 80]),
      'addresses and ports': network(layout, count, (at) => [base + (at >> 4), 8000 + (at & 15)]),
    };
    for (const [name, endpoints] of Object.entries(configurations)) {
      const stand = new Stand(layout, endpoints);
      for (const at of endpoints.keys()) stand.set(at, 0, 1);
      stand.commit();
      assert.ok(stand.kernel.writes <= BUCKETS);
      const most = endpoints.length * LEFT_OUT_MOST;
      const unknown = stand.check();
      assert.ok(unknown < most, `${layout.map}, ${name}: ${unknown} of ${endpoints.length}`);
      const others = endpoints.filter((key) => {
        const other = key.slice();
        other[4] = (other[4]! & ~0xff0000) | (UDP << 16);
        return stand.kernel.kindsOf(layout, other) !== 0;
      });
      assert.ok(others.length < most, `${layout.map}, ${name}, of UDP: ${others.length}`);
    }
  }
});

test('an address alone is an endpoint without port and protocol', () => {
  for (const layout of LAYOUTS) {
    const stand = new Stand(layout, []);
    const follower = stand.buckets.ofAddresses(3);
    const address = endpointOf(layout, ADDRESS, 0, 0);
    address[4] = layout.family;
    follower.change(address, 0, 0, 3);
    follower.commit();
    const asked = endpointOf(layout, ADDRESS, 0, 0);
    assert.equal(stand.kernel.kindsOf(layout, asked), 8 | 16);
  }
});
