/**
 * The overview behind `xvs top` and the web page: what it says of a director's tables, what a
 * reader makes of two of them, and how rows are written, sorted and filtered.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Director } from '#xvs/control/director';
import { makePicture, type Row } from '#xvs/control/overview/picture';
import type { Overview, ServerRow, ServiceRow } from '#xvs/control/overview/protocol';
import { filterRows, SECTIONS, sortRows } from '#xvs/control/overview/sections';
import { type OverviewSource, streamOverview } from '#xvs/control/overview/source';
import { scaled, share, whole } from '#xvs/control/overview/text';
import type { ServiceSpec } from '#xvs/control/protocol';
import { COUNTER, DROP, PASS, realServerTraffic, serviceTraffic } from '#xvs/table/counter';
import { attachTables, createMemory } from '#xvs/table/memory';
import { serverSettings, serviceKey, serviceSettings } from '../../support/simulation';

const TRAFFIC = [1, 2, 3, 4, 5] as const;
const SOCKET_COUNTERS = ['rxFrames', 'kernelRxRingFull'] as const;

function sourceOf(director: Director): OverviewSource {
  const counters = new SharedArrayBuffer(SOCKET_COUNTERS.length * 8);
  new Float64Array(counters).set([100, 9]);
  const control = new Int32Array([0, 30, 40, 2]);
  const worker = { control, ready: { sockets: [{ counters }, { counters }] } };
  return {
    director,
    program: { verdicts: () => [6, 7] },
    verdictNames: ['pass_no_match', 'redirect_service'],
    socketCounters: SOCKET_COUNTERS,
    interfaces: ['eth0'],
    workers: [worker, worker],
  };
}

/** Two services, one by mark without servers, and counters of two workers. */
function someServices(): Director {
  const memory = createMemory({ workers: 2, connectionCapacity: 1024, hashSeed: 1 });
  const director = new Director(attachTables(memory, () => {}));
  const server = { family: 4, address: '10.0.2.11', port: 8000 } as const;
  const specs: ServiceSpec[] = [
    {
      service: serviceKey({ address: '10.0.1.1', port: 80 }),
      settings: serviceSettings({ scheduler: 'rr' }),
      servers: [{ server, settings: serverSettings({ weight: 7 }) }],
    },
    {
      service: serviceKey({ family: 6, fwmark: 9, address: '::', port: 0 }),
      settings: serviceSettings({ scheduler: 'wlc', netmask: '128' }),
      servers: [],
    },
  ];
  director.apply(specs);
  const { counters } = director.tables;
  const service = director.find(specs[0]!.service)!;
  for (const block of counters) {
    block.set(TRAFFIC, serviceTraffic(service.slot));
    block.set(TRAFFIC, realServerTraffic(service.servers[0]!.slot));
    block[DROP.no_route] = 3;
    block[PASS.protocol] = 4;
    block[COUNTER.rx_frames] = 50;
  }
  return director;
}

async function overviewOf(source: OverviewSource, query = ''): Promise<Overview> {
  let text = '';
  for await (const piece of streamOverview(source, new URLSearchParams(query))) text += piece;
  return JSON.parse(text) as Overview;
}

describe('the overview', () => {
  test('says what the tables have, added up over workers and sockets', async () => {
    const source = sourceOf(someServices());
    const overview = await overviewOf(source);
    const web = overview.services.findIndex(([name]) => name === 'tcp 10.0.1.1:80');
    assert.deepEqual(overview.services[web], ['tcp 10.0.1.1:80', 'rr', 1, 0, 0, 2, 4, 6, 8, 10]);
    assert.deepEqual(overview.services[1 - web], ['fwmark 9 IPv6', 'wlc', 0, 0, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(overview.servers, [
      [web, '10.0.2.11:8000', 'nat', 7, 0, 0, 0, 2, 4, 6, 8, 10],
    ]);
    assert.deepEqual(
      [overview.drops['no_route'], overview.passes['protocol'], overview.drops['malformed']],
      [6, 8, 0],
    );
    assert.deepEqual(overview.sockets, { kernelRxRingFull: 36 });
    assert.deepEqual(overview.xdp, { pass_no_match: 6, redirect_service: 7 });
    assert.deepEqual(overview.interfaces, [{ name: 'eth0', up: false }]);
    assert.equal(overview.workers.length, 2);
    const { rxFrames, freeChunks, chunks, waiting } = overview.workers[1]!;
    assert.deepEqual([rxFrames, freeChunks, chunks, waiting], [50, 30, 40, 2]);
    const levels = Object.fromEntries(overview.tables.map(({ name, used }) => [name, used]));
    assert.deepEqual([levels['services'], levels['real servers']], [2, 1]);
    assert.equal(levels['connections'], 0);
  });

  test('lists the real servers that are asked for', async () => {
    const source = sourceOf(someServices());
    const count = async (query: string) => (await overviewOf(source, query)).servers.length;
    assert.equal(await count('servers=all'), 1);
    assert.equal(await count('servers=none'), 0);
    assert.equal(await count(`servers=${encodeURIComponent('tcp 10.0.1.1:80')}`), 1);
    assert.equal(await count('servers=fwmark+9+IPv6'), 0);
    assert.equal(await count('servers=tcp+10.9.9.9:80'), 0);
  });
});

type Made = { -readonly [Key in keyof Overview]: Overview[Key] };
function overview(monotonicMs: number, changes: Partial<Made> = {}): Overview {
  return {
    ...{ instance: 'a', monotonicMs, unixMs: 1000 + monotonicMs, interfaces: [], tables: [] },
    ...{ workers: [], drops: {}, passes: {}, sockets: {}, xdp: {}, services: [], servers: [] },
    ...changes,
  };
}
const service = (name: string, ...traffic: number[]): ServiceRow =>
  [name, 'rr', 1, 0, 0, ...traffic] as unknown as ServiceRow;
const server = (at: number, name: string, ...traffic: number[]): ServerRow =>
  [at, name, 'nat', 1, 0, 0, 0, ...traffic] as unknown as ServerRow;

function value(rows: readonly Row[], id: string, key: string): unknown {
  return rows.find((row) => row.id === id)?.[key];
}

describe('a picture of two overviews', () => {
  test('has rates, wherever a row stands', () => {
    const before = overview(1000, {
      services: [service('a', 10, 100, 100, 1000, 1000), service('b', 1, 1, 1, 1, 1)],
      servers: [server(0, 's', 10, 10, 10, 10, 10), server(1, 's', 1, 1, 1, 1, 1)],
      drops: { no_route: 5 },
    });
    const now = overview(3000, {
      services: [service('b', 1, 1, 1, 1, 1), service('a', 30, 300, 100, 2000, 1000)],
      servers: [server(0, 's', 1, 1, 1, 1, 1), server(1, 's', 30, 10, 10, 10, 10)],
      drops: { no_route: 6 },
    });
    const { services, servers, drops, totals, seconds } = makePicture(before, now);
    assert.equal(seconds, 2);
    assert.equal(value(services, 'a', 'connections'), 10);
    assert.equal(value(services, 'a', 'inPackets'), 100);
    assert.equal(value(services, 'a', 'inBits'), 4000);
    assert.equal(value(services, 'b', 'inPackets'), 0);
    assert.equal(value(servers, 'a s', 'connections'), 10);
    assert.equal(value(servers, 'b s', 'connections'), 0);
    assert.equal(value(drops, 'drop no_route', 'rate'), 0.5);
    assert.deepEqual([totals.inPackets, totals.inBits, totals.drops], [100, 4000, 0.5]);
  });

  test('has none of the first, nor of a daemon that was started anew', () => {
    const first = overview(1000, { services: [service('a', 1, 1, 1, 1, 1)] });
    for (const before of [null, { ...first, instance: 'b' }]) {
      const { services, seconds } = makePicture(before, first);
      assert.equal(value(services, 'a', 'inPackets'), Number.NaN);
      assert.equal(seconds, Number.NaN);
      assert.equal(value(services, 'a', 'inPacketsTotal'), 1);
    }
  });

  test('counts from 0 what was zeroed or is new, but not a server that was not listed', () => {
    const before = overview(0, { services: [service('a', 9, 9, 9, 9, 9)] });
    const now = overview(1000, {
      services: [service('a', 4, 4, 4, 4, 4), service('b', 2, 2, 2, 2, 2)],
      servers: [server(0, 's', 7, 7, 7, 7, 7)],
    });
    const { services, servers } = makePicture(before, now);
    assert.equal(value(services, 'a', 'inPackets'), 4);
    assert.equal(value(services, 'b', 'inPackets'), 2);
    assert.equal(value(servers, 'a s', 'inPackets'), Number.NaN);
    assert.equal(value(servers, 'a s', 'inPacketsTotal'), 7);
  });

  test("knows a worker's load and how large its bursts are", () => {
    const sample = { rxBytes: 0, txFrames: 0, txBytes: 0, sleeps: 0, waiting: 0 };
    const rest = { connectionsMade: 0, connectionsEnded: 0, chunks: 8, freeChunks: 8 };
    const at = (busy: number, total: number, rxFrames: number, bursts: number) => ({
      ...{ ...sample, ...rest, busy, total, rxFrames, bursts },
    });
    const before = overview(0, { workers: [at(10, 100, 64, 8), at(0, 0, 0, 0)] });
    const now = overview(1000, { workers: [at(60, 200, 128, 10), at(0, 100, 0, 0)] });
    const { workers, totals } = makePicture(before, now);
    assert.deepEqual([workers[0]!['load'], workers[0]!['burst']], [0.5, 32]);
    assert.deepEqual([workers[1]!['load'], workers[1]!['burst']], [0, Number.NaN]);
    assert.equal(totals.load, 0.5);
  });
});

describe('numbers', () => {
  test('as they are written', () => {
    const scaledCases: readonly (readonly [number, string])[] = [
      ...([
        [0, '0'],
        [0.04, '0.0'],
        [0.5, '0.5'],
        [12, '12'],
        [12.34, '12.3'],
      ] as const),
      ...([
        [99.96, '100'],
        [999, '999'],
        [999.4, '999'],
        [999.6, '1.00k'],
      ] as const),
      ...([
        [1000, '1.00k'],
        [9994, '9.99k'],
        [9996, '10.0k'],
        [99_960, '100k'],
      ] as const),
      ...([
        [1.5e6, '1.50M'],
        [4.1e9, '4.10G'],
        [-1500, '-1.50k'],
        [Number.NaN, '-'],
      ] as const),
    ];
    for (const [number, text] of scaledCases) assert.equal(scaled(number), text);
    assert.deepEqual([0, 999, 1000, 1048576, Number.NaN].map(whole), [
      ...['0', '999', '1,000', '1,048,576', '-'],
    ]);
    assert.deepEqual([0, 0.004, 0.12, 0.0999, 1].map(share), [
      ...['0 %', '0.4 %', '12 %', '10 %', '100 %'],
    ]);
  });

  test('never take more than six characters, and lose at most half of a per cent', () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 9e17, noNaN: true }), (number) => {
        const text = scaled(number);
        assert.ok(text.length <= 5, text);
        const unit = 1000 ** 'kMGTP'.split('').findIndex((one) => text.endsWith(one));
        const factor = /[kMGTP]$/.test(text) ? unit * 1000 : 1;
        const read = Number.parseFloat(text) * factor;
        assert.ok(Math.abs(read - number) <= 0.051 * Math.max(1, number / 10), `${number} ${text}`);
      }),
    );
  });
});

describe('rows', () => {
  const { columns } = SECTIONS.services;
  const row = (id: string, inPackets: number): Row => ({
    id,
    service: id,
    scheduler: 'rr',
    inPackets,
  });
  const anyRows = fc
    .uniqueArray(fc.string({ maxLength: 6 }), { maxLength: 30 })
    .chain((ids) =>
      fc.tuple(
        ...ids.map((id) => fc.oneof(fc.constant(Number.NaN), fc.nat(5)).map((n) => row(id, n))),
      ),
    );

  test('are sorted whole, unknown ones last, the same from any beginning', () => {
    fc.assert(
      fc.property(anyRows, fc.boolean(), (rows, descending) => {
        const order = { key: 'inPackets', descending };
        const sorted = sortRows(rows, order);
        assert.deepEqual(sortRows([...rows].reverse(), order), sorted);
        assert.deepEqual(new Set(sorted), new Set(rows));
        const values = sorted.map(({ inPackets }) => Number(inPackets));
        const known = values.filter((number) => !Number.isNaN(number));
        assert.ok(values.slice(known.length).every((number) => Number.isNaN(number)));
        for (let at = 1; at < known.length; at++) {
          const rises = known[at]! - known[at - 1]!;
          assert.ok(descending ? rises <= 0 : rises >= 0);
        }
      }),
    );
  });

  test('names are sorted by their numbers', () => {
    const rows = ['tcp 10.0.0.10:80', 'tcp 10.0.0.9:80', 'tcp 10.0.0.9:8'].map((id) => row(id, 0));
    const order = { key: 'service', descending: false };
    assert.deepEqual(
      sortRows(rows, order).map(({ id }) => id),
      [...['tcp 10.0.0.9:8', 'tcp 10.0.0.9:80', 'tcp 10.0.0.10:80']],
    );
  });

  test('are found by every word, in any of their texts', () => {
    const rows = [row('tcp 10.0.0.1:80', 0), row('udp 10.0.0.1:53', 0)];
    const found = (text: string) => filterRows(rows, columns, text).length;
    assert.deepEqual(
      ['', '  ', 'TCP', '10.0.0.1', 'udp :53', 'rr', 'tcp :53', '0 rr x'].map(found),
      [...[2, 2, 1, 2, 1, 2, 0, 0]],
    );
  });
});

test('of ten thousand services, a picture shows each', async () => {
  const services = Array.from({ length: 10_000 }, (_value, at) =>
    service(`s${at}`, at, at, at, at, at),
  );
  const moved = services
    .toReversed()
    .map(([name, , , , , ...counts]) => service(name, ...counts.map((count) => count + 1000)));
  const picture = makePicture(overview(0, { services }), overview(1000, { services: moved }));
  assert.equal(picture.services.length, services.length);
  assert.ok(picture.services.every(({ inPackets }) => inPackets === 1000));
  assert.equal(picture.totals.inPackets, 1000 * services.length);
});
