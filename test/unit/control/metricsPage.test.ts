/** The exporter's page: the same numbers in both formats, and sent as the reader prefers. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { ConnectionStates } from '#xvs/control/connectionMetrics';
import { Director } from '#xvs/control/director';
import { CONTENT_TYPES } from '#xvs/control/metricsFormat';
import { createMetricsServer, formatFor, wantsGzip } from '#xvs/control/metricsServer';
import {
  CONNECTION,
  CONNECTION_TEMPLATE,
  ConnectionTable,
  ENTRY_SHIFT,
} from '#xvs/table/connection';
import { COUNTER, DROP } from '#xvs/table/counter';
import { attachTables, createMemory } from '#xvs/table/memory';
import { ESTABLISHED, SYN_RECV } from '#xvs/table/state';
import { writeEntry } from '../../support/connections';
import { samplesOf, sumOf } from '../../support/director';
import { exporterOf, textOf, workerState } from '../../support/exporter';
import { serverSettings, serviceKey, serviceSettings } from '../../support/simulation';

const OPEN_METRICS = 'application/openmetrics-text';

function makeDirector(): Director {
  const memory = createMemory({ workers: 2, connectionCapacity: 1024, hashSeed: 1 });
  const director = new Director(attachTables(memory, () => {}));
  const server = (last: number) => ({ family: 4, address: `10.0.2.${last}`, port: 80 }) as const;
  director.apply([
    {
      service: serviceKey(),
      settings: serviceSettings({ scheduler: 'sh', schedulerFlags: [true, false, true] }),
      servers: [
        { server: server(1), settings: serverSettings({ weight: 3 }) },
        { server: server(2), settings: serverSettings({ weight: 0 }) },
      ],
    },
    {
      service: serviceKey({ protocol: 'udp' }),
      settings: serviceSettings({ persistentTimeout: 300 }),
      servers: [
        { server: server(3), settings: serverSettings({ method: 'fullnat', upperThreshold: 1 }) },
      ],
      localAddresses: ['10.0.2.100'],
    },
  ]);
  return director;
}

/** Connections until tick 10, every `each`-th half open, one of them a persistence template. */
function tableOf(connections: number, each: number): ConnectionTable {
  const table = new ConnectionTable(ConnectionTable.buffers(Math.max(1024, connections)), 1);
  for (let number = 1; number <= connections; number++) {
    const entry = table.allocate(0);
    writeEntry(table, entry, { protocol: 6, client: number, virtual: 1, ports: 80 }, 0, 10);
    const state = number % each === 0 ? SYN_RECV : ESTABLISHED;
    const flags = number === 1 ? CONNECTION_TEMPLATE : 0;
    table.entries[(entry << ENTRY_SHIFT) + CONNECTION.at.state] = flags | state;
  }
  return table;
}

/** Samples that do not change between two scrapes; OpenMetrics writes boundaries as 1.0. */
function steadySamples(page: string): string[] {
  return page
    .split('\n')
    .filter((line) => line.startsWith('xvs_'))
    .map((line) => line.replace(/le="(\d+)\.0"/, 'le="$1"'));
}

describe('metrics', () => {
  const director = makeDirector();
  const exporter = exporterOf(director, [workerState(['eth0', 'eth1']), workerState([])]);

  test('say what the tables hold', async () => {
    const [counters] = director.tables.counters;
    counters![COUNTER.busy_microseconds] = 2_500_000;
    counters![DROP.no_route] = 7;
    const { realServers } = director.tables;
    const overloaded = director.services.find(({ key }) => key.protocol === 'udp')!.servers[0]!;
    realServers.bind(overloaded.slot, true);
    realServers.countPersistent(overloaded.slot, 4);
    const page = await textOf(exporter.page());
    assert.equal(sumOf(page, 'xvs_worker_busy_seconds_total'), 2.5);
    assert.deepEqual(
      samplesOf(page, 'xvs_drops_total').filter(({ value }) => value > 0),
      [{ labels: { worker: '0', reason: 'no_route' }, value: 7 }],
    );
    const byService = (metric: string) =>
      Object.fromEntries(
        samplesOf(page, metric).map(({ labels, value }) => [labels['protocol'], value]),
      );
    assert.deepEqual(byService('xvs_service_real_servers'), { tcp: 2, udp: 1 });
    assert.deepEqual(byService('xvs_service_choosable_real_servers'), { tcp: 1, udp: 0 });
    assert.deepEqual(byService('xvs_service_persistence_timeout_seconds'), { tcp: 0, udp: 300 });
    assert.deepEqual(byService('xvs_local_address_connections'), { udp: 0 });
    const info = samplesOf(page, 'xvs_service_info').find(
      ({ labels }) => labels['protocol'] === 'tcp',
    );
    assert.equal(info?.labels['scheduler'], 'sh');
    assert.equal(info?.labels['flags'], 'flag-1 flag-3');
    assert.deepEqual(
      samplesOf(page, 'xvs_real_server_info').map(({ labels }) => labels['method']),
      ['fullnat', 'nat', 'nat'],
    );
    assert.equal(sumOf(page, 'xvs_real_server_overloaded'), 1);
    const byState = samplesOf(page, 'xvs_real_server_current_connections')
      .filter(({ labels }) => labels['protocol'] === 'udp')
      .map(({ labels, value }) => [labels['state'], value]);
    assert.deepEqual(byState, [
      ['active', 1],
      ['inactive', 0],
    ]);
    const heads = page.match(/^# TYPE xvs_real_server_current_connections gauge$/gm);
    assert.equal(heads?.length, 1);
    assert.equal(sumOf(page, 'xvs_real_server_persistence_templates'), 4);
    const entries = samplesOf(page, 'xvs_table_entries');
    const fill = (table: string) => entries.find(({ labels }) => labels['table'] === table)?.value;
    assert.equal(fill('services'), 2);
    assert.equal(fill('real_servers'), 3);
    assert.equal(fill('local_addresses'), 1);
    assert.equal(sumOf(page, 'xvs_socket_rx_bytes_total'), 4);
    assert.equal(sumOf(page, 'xvs_worker_up'), 2);
  });

  test('count connections by state, of a large table by some of them', () => {
    const few = tableOf(1000, 3);
    const expected = [
      [{ protocol: 'tcp', state: 'ESTABLISHED' }, 666],
      [{ protocol: 'tcp', state: 'SYN_RECV' }, 333],
    ];
    assert.deepEqual(new ConnectionStates(few).samples(5), expected);
    // Of 400,000 entries every twelfth or so is looked at: a rhythm of theirs must not fool it.
    const samples = new ConnectionStates(tableOf(400_000, 12)).samples(5);
    const halfOpen = samples.find(([{ state }]) => state === 'SYN_RECV')![1];
    assert.ok(Math.abs(halfOpen * 12 - 400_000) < 12_000, `${halfOpen} connections`);
    const sum = samples.reduce((total, [, value]) => total + value, 0);
    assert.ok(Math.abs(sum - 400_000) < 100, `${sum} connections`);
    const ended = new ConnectionStates(few);
    ended.samples(5);
    assert.deepEqual(
      ended.samples(20).map(([, value]) => value),
      [0, 0],
    );
  });

  test('have one page in both formats', async () => {
    const text = await textOf(exporter.page('text'));
    const openMetrics = await textOf(exporter.page('openMetrics'));
    assert.deepEqual(steadySamples(openMetrics), steadySamples(text));
    assert.ok(steadySamples(text).length > 250);
  });

  test('are OpenMetrics: one block a family, totals of counters, units, an end', async () => {
    const lines = (await textOf(exporter.page('openMetrics'))).split('\n');
    assert.deepEqual(lines.splice(-2), ['# EOF', '']);
    const families = new Map<string, string>();
    let family = '';
    for (const line of lines) {
      const head = /^# (HELP|TYPE|UNIT) (\S+) (.*)$/.exec(line);
      if (head === null) {
        const name = /^[\w:]+/.exec(line)?.[0] ?? '';
        const type = families.get(family);
        const suffixes: Readonly<Record<string, RegExp>> = {
          counter: /^_total$/,
          gauge: /^$/,
          info: /^_info$/,
          histogram: /^_(bucket|sum|count)$/,
        };
        assert.ok(name.startsWith(family), `${line} is in the block of ${family}`);
        assert.match(name.slice(family.length), suffixes[type ?? ''] ?? /^\b$/, line);
        if (name.endsWith('_bucket')) assert.match(line, /le="(\d+\.\d+|\d+(\.\d+)?e-\d+|\+Inf)"/);
        continue;
      }
      const [, what, name, value] = head;
      if (what === 'HELP') {
        assert.ok(!families.has(name!), `${name} has one block`);
        family = name!;
        families.set(family, '');
      } else assert.equal(name, family, line);
      if (what === 'TYPE') families.set(family, value!);
      if (what === 'UNIT') assert.ok(family.endsWith(`_${value}`), line);
    }
    assert.ok(families.size > 90);
    assert.equal(families.get('xvs_drops'), 'counter');
    assert.equal(families.get('xvs_build'), 'info');
  });

  test('are described with the labels that they have', async () => {
    const page = await textOf(exporter.page());
    for (const { name, labels } of await exporter.describe()) {
      for (const sample of samplesOf(page, name)) {
        assert.deepEqual(Object.keys(sample.labels).sort(), [...labels].sort(), name);
      }
    }
  });
});

test('the format follows Accept', () => {
  const prometheus =
    `${OPEN_METRICS};version=1.0.0,${OPEN_METRICS};version=0.0.1;q=0.75,` +
    'text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
  const wanted: readonly (readonly [string | undefined, 'text' | 'openMetrics'])[] = [
    [undefined, 'text'],
    ['*/*', 'text'],
    ['text/html, */*;q=0.8', 'text'],
    ['text/plain', 'text'],
    [prometheus, 'openMetrics'],
    [OPEN_METRICS, 'openMetrics'],
    [`${OPEN_METRICS}; version="1.0.0"; charset=utf-8`, 'openMetrics'],
    [`${OPEN_METRICS};version=0.0.1`, 'text'],
    [`${OPEN_METRICS};q=0`, 'text'],
    [`${OPEN_METRICS};q=0.3, text/plain;q=0.4`, 'text'],
    [`${OPEN_METRICS};q=nonsense`, 'text'],
  ];
  for (const [accept, format] of wanted) assert.equal(formatFor(accept), format, accept);
});

test('compression follows Accept-Encoding', () => {
  for (const header of ['gzip', 'br, gzip;q=0.5', '*', 'GZIP'])
    assert.ok(wantsGzip(header), header);
  for (const header of [undefined, '', 'identity', 'br', 'gzip;q=0', 'gzip;q=0, *']) {
    assert.ok(!wantsGzip(header), header);
  }
});

describe('the server', () => {
  const server = createMetricsServer(exporterOf(makeDirector()), () => true);

  before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  after(() => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });

  function get(headers: Readonly<Record<string, string>>) {
    const { port } = server.address() as { port: number };
    return new Promise<{ headers: Readonly<Record<string, unknown>>; body: Buffer }>(
      (resolve, reject) => {
        const asked = request({ port, path: '/metrics', headers }, (answer) => {
          const pieces: Buffer[] = [];
          answer.on('data', (piece: Buffer) => pieces.push(piece));
          answer.on('end', () => resolve({ headers: answer.headers, body: Buffer.concat(pieces) }));
          answer.on('error', reject);
        });
        asked.on('error', reject);
        asked.end();
      },
    );
  }

  test('sends either format, compressed or not', async () => {
    const plain = await get({});
    assert.equal(plain.headers['content-type'], CONTENT_TYPES.text);
    assert.equal(plain.headers['content-encoding'], undefined);
    const packed = await get({ accept: OPEN_METRICS, 'accept-encoding': 'gzip' });
    assert.equal(packed.headers['content-type'], CONTENT_TYPES.openMetrics);
    assert.equal(packed.headers['content-encoding'], 'gzip');
    const page = gunzipSync(packed.body).toString();
    assert.deepEqual(steadySamples(page), steadySamples(plain.body.toString()));
    assert.ok(packed.body.length * 4 < page.length);
  });
});
