/**
 * Answers about a table of many services: the same as the short ones say, and made without holding
 * up the main thread, over a real socket as tools read them.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { AdminClient } from '#xvs/cli/client';
import { Director } from '#xvs/control/director';
import { listServices, streamServices } from '#xvs/control/listing';
import { createMetricsServer } from '#xvs/control/metricsServer';
import type { ServiceList, ServiceSpec } from '#xvs/control/protocol';
import { SERVICE_METRICS } from '#xvs/control/serviceMetrics';
import { AdminSocket } from '#xvs/control/socket';
import { realServerTraffic, serviceTraffic } from '#xvs/table/counter';
import { attachTables, createMemory } from '#xvs/table/memory';
import { samplesOf } from '../../support/director';
import { exporterOf, textOf } from '../../support/exporter';
import { serverSettings, serviceKey, serviceSettings } from '../../support/simulation';
import { longestStall, SLICES_MS, threadCpuMs } from '../../support/stall';

/** Of what the whole of an answer takes this thread. */
const STALL_PART_MAX = 1 / 3;
const SERVICES = 10_000;
const SERVERS = 10;

function makeDirector(): Director {
  const memory = createMemory({ workers: 2, connectionCapacity: 1024, hashSeed: 1 });
  return new Director(attachTables(memory, () => {}));
}

/** A few services of every kind, with counters of two workers. */
function fewServices(): Director {
  const director = makeDirector();
  const v6 = { family: 6, address: 'fd00:100::1' } as const;
  const server = (address: string, port: number) =>
    ({ family: address.includes(':') ? 6 : 4, address, port }) as const;
  const specs: ServiceSpec[] = [
    {
      service: serviceKey(),
      settings: serviceSettings({ scheduler: 'sh', schedulerFlags: [true, false, false] }),
      servers: [
        { server: server('10.0.2.11', 8000), settings: serverSettings({ weight: 7 }) },
        {
          server: server('fd00:2::1', 80),
          settings: serverSettings({
            ...{ method: 'tunnel', upperThreshold: 5, lowerThreshold: 3 },
            tunnel: { type: 'gue', port: 6080, checksum: 'remcsum' },
          }),
        },
      ],
    },
    {
      service: serviceKey({ ...v6, protocol: 'udp' }),
      settings: serviceSettings({ netmask: '64', persistentTimeout: 100, onePacket: true }),
      servers: [],
    },
    {
      service: serviceKey({ fwmark: 7, address: '0.0.0.0', port: 0 }),
      settings: serviceSettings({ persistentTimeout: 9, persistenceEngine: 'sip' }),
      servers: [{ server: server('10.0.2.12', 0), settings: serverSettings() }],
    },
  ];
  director.apply(specs);
  const { counters } = director.tables;
  let count = 1;
  for (const service of director.services) {
    const places = service.servers.map(({ slot }) => realServerTraffic(slot));
    for (const at of [serviceTraffic(service.slot), ...places]) {
      for (let which = 0; which < 5; which++) {
        counters[0]![at + which] = count++ * 1000;
        counters[1]![at + which] = 0.5 * 2 ** 40;
      }
    }
  }
  director.estimate();
  director.execute({ command: 'zero', service: specs[1]!.service });
  return director;
}

test('the stream of services is the list, and the brief one is it without numbers', async () => {
  for (const director of [fewServices(), makeDirector()]) {
    const list = JSON.parse(JSON.stringify(listServices(director))) as ServiceList;
    assert.deepEqual(JSON.parse(await textOf(streamServices(director, false))), list);
    const withoutNumbers = <Item extends object>(item: Item): object =>
      Object.fromEntries(
        Object.entries(item).filter(([name]) => name !== 'statistics' && name !== 'rates'),
      );
    const brief = list.services.map((service) => ({
      ...withoutNumbers(service),
      servers: service.servers.map(withoutNumbers),
    }));
    assert.deepEqual(JSON.parse(await textOf(streamServices(director, true))), {
      ...list,
      services: brief,
    });
  }
});

test('the exporter says of services what the list says', async () => {
  const director = fewServices();
  const page = await textOf(exporterOf(director).page());
  for (const { name, help, type } of SERVICE_METRICS) {
    assert.ok(page.includes(`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`), name);
  }
  const list = listServices(director).services;
  const services = samplesOf(page, 'xvs_service_in_bytes_total');
  assert.deepEqual(
    services.map(({ labels, value }) => [labels['service'], labels['protocol'], value]),
    list.map((service) => [
      service.fwmark !== 0
        ? `fwmark ${service.fwmark}`
        : service.family === 6
          ? `[${service.address}]:${service.port}`
          : `${service.address}:${service.port}`,
      service.fwmark !== 0 ? 'any' : service.protocol,
      service.statistics.inBytes,
    ]),
  );
  const weights = samplesOf(page, 'xvs_real_server_weight');
  assert.deepEqual(
    weights.map(({ labels, value }) => [labels['server'], value]),
    list.flatMap(({ servers }) =>
      servers.map(({ family, address, port, weight }) => [
        family === 6 ? `[${address}]:${port}` : `${address}:${port}`,
        weight,
      ]),
    ),
  );
});

describe(`${SERVICES} services with ${SERVERS} servers`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvs-long-'));
  const director = makeDirector();
  let admin: AdminSocket;

  before(async () => {
    director.apply(
      Array.from({ length: SERVICES }, (_, service) => ({
        service: serviceKey({ address: `10.1.${service >> 8}.${service & 255}` }),
        settings: serviceSettings(),
        servers: Array.from({ length: SERVERS }, (_, server) => ({
          server: {
            family: 4 as const,
            address: `10.${2 + (service >> 8)}.${service & 255}.${1 + server}`,
            port: 80,
          },
          settings: serverSettings(),
        })),
      })),
    );
    admin = new AdminSocket(join(folder, 'xvs.sock'), {
      services: (query) => streamServices(director, query.get('brief') === '1'),
      connections: () => Promise.reject(new Error('not asked')),
      timeouts: () => director.timeouts,
      execute: (command) => director.execute(command),
    });
    await admin.open();
  });
  after(async () => {
    await admin.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('making the lists and the page of metrics keeps the main thread free', async () => {
    const makers: Readonly<Record<string, () => AsyncGenerator<string>>> = {
      brief: () => streamServices(director, true),
      whole: () => streamServices(director, false),
      metrics: () => exporterOf(director).page(),
    };
    for (const [name, make] of Object.entries(makers)) {
      let length = 0;
      const began = threadCpuMs();
      const stallMs = await longestStall(async () => {
        for await (const piece of make()) length += piece.length;
      });
      assert.ok(length > SERVICES * SERVERS * 100, `${name}: ${length} characters`);
      const wholeMs = threadCpuMs() - began;
      const said = `${name}: ${stallMs.toFixed(1)} of ${wholeMs.toFixed(1)} ms`;
      assert.ok(stallMs < Math.max(STALL_PART_MAX * wholeMs, SLICES_MS), said);
    }
  });

  test('a tool reads the whole list over the socket', async () => {
    const client = await AdminClient.connect(admin.path);
    const { status, body } = await client.request('GET', '/v1/services?brief=1');
    // The connection goes on after an answer in chunks.
    const timeouts = await client.request('GET', '/v1/timeouts');
    client.close();
    assert.equal(status, 200);
    const { services } = body as ServiceList;
    assert.equal(services.length, SERVICES);
    assert.ok(services.every(({ servers }) => servers.length === SERVERS));
    assert.deepEqual(timeouts.body, director.timeouts);
  });

  test('a reader that goes away in the middle stops nothing', async () => {
    const server = createMetricsServer(exporterOf(director), () => true);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    for (const [path, socketPath] of [
      ['/metrics', undefined],
      ['/v1/services', admin.path],
    ] as const) {
      await new Promise<void>((resolve) => {
        const where = socketPath === undefined ? { port } : { socketPath };
        const asked = request({ ...where, path }, (answer) => {
          answer.once('data', () => asked.destroy());
          answer.once('close', () => resolve());
          answer.once('error', () => resolve());
        });
        asked.once('error', () => resolve());
        asked.end();
      });
    }
    const client = await AdminClient.connect(admin.path);
    assert.equal((await client.request('GET', '/v1/timeouts')).status, 200);
    client.close();
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
});
