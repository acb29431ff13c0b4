/**
 * Changes that meet a service's lock which a worker holds, dead or out of its CPU: each is made
 * whole or not at all, wherever the lock is lost.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Director } from '#xvs/control/director';
import type { DirectorError } from '#xvs/control/error';
import { listServices } from '#xvs/control/listing';
import type { ServiceSpec } from '#xvs/control/model';
import type { Command, ServerKey, ServiceKey } from '#xvs/control/protocol';
import { REAL_SERVERS_MAX } from '#xvs/table/realServer';
import { Hosts } from '../../support/hosts';
import {
  Simulation,
  serverAddress,
  serverSettings,
  serviceKey,
  serviceSettings,
  VIP,
} from '../../support/simulation';

/** A worker that is not there. */
const DEAD = 3;
const PORTS = [80, 81, 82, 83];
const server = (number: number): ServerKey => ({
  family: 4,
  address: serverAddress(number),
  port: 8000,
});

function spec(port: number, numbers: readonly number[], scheduler = 'rr', weight = 1): ServiceSpec {
  return {
    service: serviceKey({ port }),
    settings: serviceSettings({ scheduler }),
    servers: numbers.map((number) => ({
      server: server(number),
      settings: serverSettings({ weight }),
    })),
  };
}

/** A director with services of several kinds, who is told of changes, and one who is told. */
class Stand {
  readonly simulation = new Simulation();
  readonly director: Director;
  readonly told: (Command | null)[] = [];
  #clients = 1000;

  constructor() {
    this.director = new Director(this.simulation.tables, (command) => this.told.push(command));
    this.director.apply([
      spec(80, [1, 2, 3]),
      spec(81, [1, 2], 'mh'),
      spec(82, [2, 3], 'wrr', 5),
      spec(83, [1], 'sh'),
    ]);
    // In the middle of a round, where nobody gets by adding and removing.
    const hosts = new Hosts(this.simulation);
    for (const [port, rip] of [
      [80, 'rs3'],
      [80, 'rs2'],
      [82, 'rs3'],
    ] as const) {
      assert.equal(hosts.connect(`10.0.1.100:${++this.#clients}`, `${VIP}:${port}`, true), rip);
    }
    this.told.length = 0;
  }

  slot(port: number): number {
    return this.director.find(serviceKey({ port }))!.slot;
  }

  hold(port: number): void {
    assert.ok(this.simulation.tables.services.lock(this.slot(port), DEAD));
  }
  release(): void {
    assert.equal(this.simulation.tables.services.breakLocks(DEAD), 1);
  }

  /** All that tools and workers see: lists, availability, tables, what kinds there are. */
  seen(): string {
    const { realServers, services, schedulerTable, settings } = this.simulation.tables;
    const shared = this.director.services.map(({ key, slot }) => {
      const servers: unknown[] = [];
      for (let at = services.firstServer(slot); at !== 0; at = realServers.next(at)) {
        servers.push([
          at,
          realServers.address4(at),
          realServers.weight(at),
          realServers.isAvailable(at),
        ]);
      }
      const first = schedulerTable.active(slot);
      const places = [...schedulerTable.slots.subarray(first, first + 4096)].reduce(
        (hash, place) => {
          const word = place === 0 ? 0 : realServers.address4(place);
          return (Math.imul(hash, 31) + word) | 0;
        },
        0,
      );
      const place = [0, 1, 2].map((word) => services.schedulerState(slot, word));
      place.push(services.position(slot));
      const plain = [key.port, slot, services.scheduler(slot), services.isInUse(slot)];
      return [plain, place, servers, places];
    });
    return JSON.stringify([
      listServices(this.director),
      shared,
      settings.serviceCount,
      settings.anyPortServices,
      this.director.serviceCount,
    ]);
  }
}

function isBusy(error: unknown): boolean {
  assert.equal((error as DirectorError).code, 'ERR_BUSY', String(error));
  return true;
}

for (const port of PORTS) {
  test(`flush with the service of port ${port} locked removes none, and all afterwards`, () => {
    const stand = new Stand();
    const before = stand.seen();
    stand.hold(port);
    assert.throws(() => stand.director.execute({ command: 'flush' }), isBusy);
    assert.equal(stand.seen(), before);
    assert.deepEqual(stand.told, []);
    assert.equal(stand.director.trash.length, 0);
    stand.release();
    assert.equal(stand.simulation.tables.services.breakLocks(255), 0, 'no lock is left taken');
    stand.director.execute({ command: 'flush' });
    assert.equal(stand.director.serviceCount, 0);
    assert.equal(stand.simulation.tables.settings.serviceCount, 0);
    assert.equal(stand.told.length, 1);
  });
}

/** Edits, removals and additions: what each service is touched by differs. */
const NEXT: readonly ServiceSpec[] = [
  spec(80, [1, 3, 4], 'rr', 2),
  spec(81, [1, 2, 4], 'mh'),
  spec(82, [2, 3], 'wlc', 5),
  spec(84, [1, 2], 'mh'),
  spec(0, [1]),
];

for (const port of PORTS) {
  test(`apply with the service of port ${port} locked changes nothing, and all afterwards`, () => {
    const stand = new Stand();
    const hosts = new Hosts(stand.simulation);
    assert.equal(hosts.connect('10.0.1.100:1', `${VIP}:80`, true), 'rs1');
    const before = stand.seen();
    stand.hold(port);
    assert.throws(() => stand.director.apply(NEXT), isBusy);
    assert.equal(stand.seen(), before);
    assert.deepEqual(stand.told, []);
    stand.release();
    assert.ok(hosts.exchange('10.0.1.100:1', 'rs1'));
    stand.director.apply(NEXT);
    assert.deepEqual(
      stand.director.services.map(({ key }) => key.port).sort((left, right) => left - right),
      [0, 80, 81, 82, 84],
    );
  });
}

/** From its `count`th request for any lock on, `port`'s service is held by a worker that dies. */
function dieAt(stand: Stand, count: number, port: number): () => number {
  const { services } = stand.simulation.tables;
  const take = services.lock.bind(services);
  const victim = stand.slot(port);
  let asked = 0;
  services.lock = (slot, owner) => {
    asked++;
    if (asked === count) take(victim, DEAD);
    return take(slot, owner);
  };
  return () => asked;
}

test('apply that loses a lock in the middle leaves lists and tables as they were', () => {
  const probe = new Stand();
  const locks = dieAt(probe, -1, 80);
  probe.director.apply(NEXT);
  let failed = 0;
  for (let count = 1; count <= locks(); count += 2) {
    const stand = new Stand();
    const port = PORTS[count % PORTS.length]!;
    const before = stand.seen();
    dieAt(stand, count, port);
    try {
      stand.director.apply(NEXT);
    } catch (error) {
      isBusy(error);
      failed++;
      assert.equal(stand.seen(), before, `lock ${count} of ${locks()}, port ${port}`);
    }
  }
  assert.ok(failed >= 3, `only ${failed} of ${locks()} failed`);
});

test('locks that dead workers hold of free slots do not keep an apply from what it adds', () => {
  const stand = new Stand();
  const { services, counters } = stand.simulation.tables;
  const before = stand.director.find(serviceKey({ port: 80 }))!;
  const take = services.lock.bind(services);
  // Each worker dies with the next lock that is asked for and not of a service there was.
  const known = new Set(PORTS.map((port) => stand.slot(port)));
  const held: number[] = [];
  services.lock = (slot, owner) => {
    if (!known.has(slot) && held.length < counters.length) {
      assert.ok(take(slot, held.length + 1));
      held.push(slot);
    }
    return take(slot, owner);
  };
  stand.director.apply(NEXT);
  services.lock = take;
  assert.equal(held.length, counters.length);
  assert.equal(stand.director.find(serviceKey({ port: 80 })), before);
  for (const [at, slot] of held.entries()) {
    assert.equal(services.isInUse(slot), false);
    services.unlock(slot, at + 1);
  }
  const added = stand.director.find(serviceKey({ port: 84 }))!;
  assert.equal(services.find4(6, 0xc6336401 | 0, 84), added.slot);
  assert.equal(added.servers.length, 2);
});

test('services that are removed hold no worker up, one by one or all together', () => {
  const stand = new Stand();
  const { services } = stand.simulation.tables;
  const take = services.lock.bind(services);
  const give = services.unlock.bind(services);
  let taken = 0;
  let most = 0;
  services.lock = (slot, owner) => {
    most = Math.max(most, ++taken);
    return take(slot, owner);
  };
  services.unlock = (slot, owner) => {
    taken--;
    give(slot, owner);
  };
  stand.director.execute({ command: 'flush' });
  assert.equal(most, 1, 'one lock at a time');
  assert.equal(taken, 0);
});

test('a new service whose slot a dead worker holds takes another one', () => {
  const stand = new Stand();
  const { services } = stand.simulation.tables;
  const key = serviceKey({ port: 90 });
  const add: Command = { command: 'add-service', service: key, settings: serviceSettings() };
  stand.director.execute(add);
  const first = stand.director.find(key)!.slot;
  stand.director.execute({ command: 'delete-service', service: key });
  const free = services.freeCount;
  // The slots that come next, as a dead worker may hold one of an earlier service.
  const [, victim] = [first, nextSlot(stand)];
  assert.ok(services.lock(victim, DEAD));
  stand.director.execute(add);
  assert.notEqual(stand.director.find(key)!.slot, victim);
  assert.equal(services.isInUse(victim), false);
  assert.equal(services.freeCount, free - 1);
  stand.release();
});

/** The slot that the next new service gets. */
function nextSlot(stand: Stand): number {
  const { services } = stand.simulation.tables;
  const record = { family: 4, protocol: 6, address: Int32Array.of(1, 0, 0, 0), port: 1, fwmark: 0 };
  const slots: number[] = [];
  // One after the other is taken; given back, they come last: all but the first go round.
  for (let left = services.freeCount; left > 0; left--) {
    const slot = services.create(record, 0);
    slots.push(slot);
    services.remove(slot);
  }
  return slots[0]!;
}

test('a new service that finds no slot it can lock is not there at all', () => {
  const stand = new Stand();
  const { services } = stand.simulation.tables;
  const before = stand.seen();
  const take = services.lock.bind(services);
  const held: number[] = [];
  services.lock = (slot) => {
    if (!held.includes(slot) && take(slot, DEAD)) held.push(slot);
    return false;
  };
  const key: ServiceKey = serviceKey({ port: 90 });
  assert.throws(
    () =>
      stand.director.execute({ command: 'add-service', service: key, settings: serviceSettings() }),
    isBusy,
  );
  services.lock = take;
  for (const slot of held) services.unlock(slot, DEAD);
  assert.ok(held.length > stand.simulation.tables.counters.length);
  assert.equal(stand.seen(), before);
  assert.deepEqual(stand.told, []);
  assert.equal(services.find4(6, 0xc6336401 | 0, 90), 0, 'workers do not find it');
  assert.ok(stand.simulation.tables.realServers.freeCount < REAL_SERVERS_MAX);
});
