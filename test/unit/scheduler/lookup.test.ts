/** Lookup tables in step with servers: by single commands, by configurations, by the pool. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Director } from '#xvs/control/director';
import { POOLED_TABLES_MIN } from '#xvs/control/maglevPool';
import { Pool } from '#xvs/control/pool';
import type { ServiceSpec } from '#xvs/control/protocol';
import { addressWords } from '#xvs/net/address';
import { MAGLEV_SLOTS, populateMaglev } from '#xvs/scheduler/mh';
import { attachTables, createMemory, type Tables } from '#xvs/table/memory';
import { LOOKUP_SLOTS } from '#xvs/table/schedulerTable';
import { Scheduling, serverKey } from '../../support/scheduling';
import { serverSettings, serviceKey, serviceSettings } from '../../support/simulation';

function spec(port: number, scheduler: string, servers: readonly [number, number][]): ServiceSpec {
  return {
    service: serviceKey({ port }),
    settings: serviceSettings({ scheduler }),
    servers: servers.map(([number, weight]) => ({
      server: serverKey(number),
      settings: serverSettings({ weight }),
    })),
  };
}

/** Server numbers of a service's table in use, checked against one built from its list. */
function checkTable(tables: Tables, director: Director, { service }: ServiceSpec): void {
  const { slot, servers } = director.find(service)!;
  const shares = servers.map(({ key, settings, slot: serverSlot }) => ({
    address: addressWords(key.address),
    port: key.port,
    weight: settings.weight,
    lastWeight: tables.realServers.lastWeight(serverSlot),
  }));
  const expected = [...populateMaglev(shares)].map((place) => servers[place - 1]?.slot ?? 0);
  const first = tables.schedulerTable.active(slot);
  assert.deepEqual([...tables.schedulerTable.slots.subarray(first, first + 4093)], expected);
}

function setUp() {
  const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
  const tables = attachTables(memory, () => {});
  return { tables, director: new Director(tables) };
}

test('a configuration is applied by difference: each table is that of the servers then', () => {
  const { tables, director } = setUp();
  const first = [
    spec(80, 'mh', [
      [1, 1],
      [2, 3],
      [3, 0],
    ]),
    spec(81, 'mh', [[1, 5]]),
    spec(82, 'rr', [[1, 5]]),
  ];
  director.apply(first);
  checkTable(tables, director, first[0]!);
  checkTable(tables, director, first[1]!);
  const second = [
    spec(80, 'mh', [
      [2, 0],
      [3, 4],
      [4, 1],
      [5, 2],
    ]),
    spec(81, 'mh', [[6, 1]]),
    spec(82, 'mh', [
      [1, 5],
      [2, 1],
    ]),
  ];
  director.apply(second);
  for (const one of second) checkTable(tables, director, one);
  // Single commands build at once, again after a configuration.
  director.execute({
    command: 'delete-server',
    service: second[1]!.service,
    server: serverKey(6),
  });
  checkTable(tables, director, second[1]!);
});

test('many tables are built by the pool beforehand, and are the same', async () => {
  const { tables, director } = setUp();
  const pool = new Pool();
  const specs = Array.from({ length: POOLED_TABLES_MIN + 6 }, (_, at) =>
    spec(1000 + at, 'mh', [
      [1, 1 + at],
      [2, 3],
      [3 + (at % 4), 7],
    ]),
  );
  try {
    director.apply([
      spec(1000, 'mh', [
        [2, 9],
        [1, 4],
        [9, 1],
      ]),
    ]);
    await director.prepare(specs, pool);
    director.apply(specs);
    for (const one of specs) checkTable(tables, director, one);
    const changed = specs.map((_spec, at) =>
      spec(1000 + at, 'mh', [
        [2, 0],
        [4 + at, 2],
      ]),
    );
    await director.prepare(changed, pool);
    // Meanwhile something changed: what was built beforehand no longer fits there.
    director.execute({
      command: 'edit-server',
      service: specs[0]!.service,
      server: serverKey(2),
      settings: serverSettings({ weight: 8 }),
    });
    director.apply(changed);
    for (const one of changed) checkTable(tables, director, one);
  } finally {
    await pool.close();
  }
});

test('a slot that another service had begins with an empty table', () => {
  const scheduling = new Scheduling();
  const { tables } = scheduling;
  for (const scheduler of ['mh', 'sh', 'dh']) {
    scheduling.start(scheduler);
    scheduling.add(1, 1);
    scheduling.add(2, 1);
    const { slot } = scheduling;
    const own = (): Int32Array =>
      tables.schedulerTable.slots.subarray(slot * 2 * LOOKUP_SLOTS, (slot + 1) * 2 * LOOKUP_SLOTS);
    assert.ok(own().some((server) => server !== 0));
    scheduling.edit('rr');
    assert.ok(
      own().every((server) => server === 0),
      `${scheduler}, another scheduler`,
    );
    scheduling.edit(scheduler);
    assert.notEqual(scheduling.choose({ client: '10.0.0.1' }), 0);
    scheduling.director.execute({ command: 'flush' });
    assert.ok(
      own().every((server) => server === 0),
      `${scheduler}, service deleted`,
    );
    for (const trashed of scheduling.director.trash) {
      const active = tables.realServers.active(trashed.server.slot);
      for (let i = 0; i < active; i++) scheduling.end(trashed.server.slot, true);
    }
  }
});

test(`mh: more than ${MAGLEV_SLOTS} servers are refused, by name and number`, () => {
  const { director } = setUp();
  const service = serviceKey();
  const servers = Array.from({ length: MAGLEV_SLOTS }, (_, at) => ({
    server: { family: 4 as const, address: `10.5.${at >> 8}.${at & 255}`, port: 80 },
    settings: serverSettings(),
  }));
  director.apply([{ service, settings: serviceSettings({ scheduler: 'mh' }), servers }]);
  const add = (): void =>
    director.execute({
      command: 'add-server',
      service,
      server: serverKey(1),
      settings: serverSettings(),
    });
  assert.throws(add, { code: 'ERR_VALUE', message: /4094 real servers.*at most 4093/ });
  const edit = (scheduler: string): void =>
    director.execute({
      command: 'edit-service',
      service,
      settings: serviceSettings({ scheduler }),
    });
  edit('sh');
  add();
  assert.throws(() => edit('mh'), { code: 'ERR_VALUE', message: /4094 real servers/ });
  edit('wlc');
});

test('an unknown scheduler is refused, "none" is not, as in IPVS', () => {
  const { director } = setUp();
  const add = (scheduler: string) => {
    const settings = serviceSettings({ scheduler });
    director.execute({ command: 'add-service', service: serviceKey(), settings });
  };
  assert.throws(() => add('nosuch'), { code: 'ERR_SCHEDULER_UNKNOWN', errno: 'ENOENT' });
  add('none');
});
