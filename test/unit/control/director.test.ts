/** The director: what it refuses and how, the trash, changes by difference. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Director } from '#xvs/control/director';
import { DirectorError, type DirectorErrorCode } from '#xvs/control/error';
import { listServices } from '#xvs/control/listing';
import type { ServiceSpec } from '#xvs/control/model';
import type { Command, ServerKey, ServerSettings, ServiceKey } from '#xvs/control/protocol';
import { REAL_SERVERS_MAX } from '#xvs/table/realServer';
import { Hosts, REFUSED } from '../../support/hosts';
import {
  Simulation,
  serverAddress,
  serverSettings,
  serviceKey,
  serviceSettings,
  VIP,
  withServers,
} from '../../support/simulation';

const SERVICE = `${VIP}:80`;
const server = (number: number, port = 8000): ServerKey => ({
  family: 4,
  address: serverAddress(number),
  port,
});

/** What a tool sees of it, counters included. */
const seen = (simulation: Simulation): string =>
  JSON.stringify([listServices(simulation.director), simulation.director.timeouts]);

function refused(simulation: Simulation, command: Command, code: string, message: RegExp): void {
  const before = seen(simulation);
  assert.throws(
    () => simulation.director.execute(command),
    (error: unknown) => {
      assert.ok(error instanceof DirectorError);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    },
  );
  assert.equal(seen(simulation), before, 'nothing has changed');
  assert.equal(simulation.director.trash.length, 0);
}

const key = serviceKey();
const other = serviceKey({ port: 81 });
const settings = serviceSettings();
const change = (number: number, fields: Partial<ServerSettings> = {}) => ({
  service: key,
  server: server(number),
  settings: serverSettings(fields),
});

const REFUSALS: readonly (readonly [Command, DirectorErrorCode, RegExp])[] = [
  [
    { command: 'add-service', service: key, settings },
    'ERR_SERVICE_EXISTS',
    /tcp 198\.51\.100\.1:80 exists/,
  ],
  [
    { command: 'edit-service', service: other, settings },
    'ERR_SERVICE_UNKNOWN',
    /198\.51\.100\.1:81/,
  ],
  [{ command: 'delete-service', service: other }, 'ERR_SERVICE_UNKNOWN', /does not exist/],
  [{ command: 'zero', service: other }, 'ERR_SERVICE_UNKNOWN', /does not exist/],
  [
    { command: 'add-server', ...change(2), service: other },
    'ERR_SERVICE_UNKNOWN',
    /does not exist/,
  ],
  [{ command: 'add-server', ...change(1) }, 'ERR_SERVER_EXISTS', /10\.0\.2\.11:8000 already/],
  [{ command: 'edit-server', ...change(2) }, 'ERR_SERVER_UNKNOWN', /no real server 10\.0\.2\.12/],
  [
    { command: 'delete-server', service: key, server: server(1, 8001) },
    'ERR_SERVER_UNKNOWN',
    /10\.0\.2\.11:8001/,
  ],
  [
    {
      command: 'add-service',
      service: other,
      settings: serviceSettings({ scheduler: 'nonesuch' }),
    },
    'ERR_SCHEDULER_UNKNOWN',
    /"nonesuch" is unknown; allowed are rr/,
  ],
  [
    { command: 'edit-service', service: key, settings: serviceSettings({ scheduler: '' }) },
    'ERR_SCHEDULER_UNKNOWN',
    /""/,
  ],
  [
    { command: 'add-server', ...change(2, { weight: -1 }) },
    'ERR_VALUE',
    /weight -1: 0 to 2147483647 are allowed/,
  ],
  [{ command: 'edit-server', ...change(1, { weight: 2 ** 31 }) }, 'ERR_VALUE', /weight 2147483648/],
  [{ command: 'edit-server', ...change(1, { weight: 1.5 }) }, 'ERR_VALUE', /weight 1\.5/],
  [
    { command: 'edit-server', ...change(1, { upperThreshold: 2 ** 31 }) },
    'ERR_VALUE',
    /upperThreshold 2147483648/,
  ],
  [
    {
      command: 'add-server',
      service: key,
      server: { family: 4, address: '224.0.0.1', port: 80 },
      settings: serverSettings(),
    },
    'ERR_VALUE',
    /must be unicast/,
  ],
  [
    { command: 'edit-server', ...change(1, { upperThreshold: 2, lowerThreshold: 3 }) },
    'ERR_THRESHOLDS',
    /lowerThreshold 3 is above upperThreshold 2/,
  ],
];

for (const [command, code, message] of REFUSALS) {
  test(`${command.command} is refused with ${code}: ${message.source}`, () => {
    const simulation = new Simulation();
    withServers(simulation, 1);
    refused(simulation, command, code, message);
  });
}

test('a director whose tables are full says so', () => {
  const simulation = new Simulation();
  const { realServers, services } = simulation.tables;
  const service = simulation.addService();
  const record = { family: 4, address: new Int32Array(4), port: 1 };
  while (realServers.freeCount > 0) realServers.create(1, record);
  const room = /no slot is free|room/;
  refused(simulation, { command: 'add-server', ...change(1), service }, 'ERR_TABLE_FULL', room);
  for (let number = 1; services.freeCount > 0; number++) {
    const address = Int32Array.of(number, 0, 0, 0);
    services.create({ family: 4, protocol: 17, address, port: 9, fwmark: 0 }, 0);
  }
  refused(simulation, { command: 'add-service', service: other, settings }, 'ERR_TABLE_FULL', room);
  assert.throws(() => simulation.director.apply([spec(key, [1]), spec(other, [])]), {
    code: 'ERR_TABLE_FULL',
  });
});

test('a service that a dead worker holds is busy, and nothing is half done', () => {
  const simulation = new Simulation();
  withServers(simulation, 1);
  const { slot } = simulation.director.find(key)!;
  assert.ok(simulation.tables.services.lock(slot, 3));
  const busy = (command: Command): void =>
    refused(simulation, command, 'ERR_BUSY', /is locked by a worker/);
  busy({ command: 'add-server', ...change(2) });
  busy({ command: 'delete-server', service: key, server: server(1) });
  busy({ command: 'delete-service', service: key });
  busy({ command: 'edit-server', ...change(1, { weight: 9 }) });
  assert.equal(simulation.tables.services.breakLocks(3), 1);
  simulation.director.execute({ command: 'add-server', ...change(2) });
  assert.equal(simulation.serverSlot(key, serverAddress(2)), 2, 'the refused one took no slot');
  assert.equal(new Hosts(simulation).connect('10.0.1.100:1', SERVICE), 'rs2');
  simulation.director.execute({ command: 'delete-server', service: key, server: server(2) });
  assert.ok(simulation.tables.services.lock(slot, 3));
  assert.throws(() => simulation.director.execute({ command: 'add-server', ...change(2) }));
  assert.equal(simulation.director.trash.length, 1, 'still to be found again');
  simulation.tables.services.breakLocks(3);
});

test('a removed server keeps its slot and counters; added anew, its connections go on', () => {
  const simulation = new Simulation();
  withServers(simulation, 2);
  const hosts = new Hosts(simulation);
  const name = hosts.connect('10.0.1.100:40001', SERVICE, true);
  assert.equal(name, 'rs2');
  const slot = simulation.serverSlot(key, serverAddress(2));
  const statistics = () =>
    listServices(simulation.director).services[0]!.servers.find(
      ({ address }) => address === serverAddress(2),
    )!.statistics;
  const before = statistics();
  simulation.director.execute({ command: 'delete-server', service: key, server: server(2) });
  assert.equal(simulation.director.trash.length, 1);
  assert.equal(hosts.exchange('10.0.1.100:40001', name), false);
  assert.deepEqual(simulation.verdicts(), { real_server_unavailable: 1 });
  assert.equal(simulation.connections().length, 1, 'the connection lives on');
  simulation.director.execute({ command: 'add-server', ...change(2, { weight: 5 }) });
  assert.equal(simulation.director.trash.length, 0);
  assert.equal(simulation.serverSlot(key, serverAddress(2)), slot);
  assert.deepEqual(statistics(), before);
  assert.ok(hosts.exchange('10.0.1.100:40001', name));
  assert.equal(statistics().inPackets, before.inPackets + 1);
  hosts.close('10.0.1.100:40001', name);
});

test('connections outlive their service while another is there, and go on with it', () => {
  const simulation = new Simulation();
  withServers(simulation, 1);
  simulation.addService({ port: 443 });
  const hosts = new Hosts(simulation);
  const name = hosts.connect('10.0.1.100:40001', SERVICE, true);
  simulation.director.execute({ command: 'delete-service', service: key });
  assert.equal(hosts.exchange('10.0.1.100:40001', name), false);
  assert.deepEqual(simulation.verdicts(), { real_server_unavailable: 1 });
  withServers(simulation, 1);
  assert.ok(hosts.exchange('10.0.1.100:40001', name));
  simulation.director.execute({ command: 'flush' });
  assert.equal(simulation.connections().length, 1);
  assert.equal(hosts.exchange('10.0.1.100:40001', name), false);
  assert.deepEqual(simulation.verdicts(), { real_server_unavailable: 1, no_service: 1 });
  withServers(simulation, 1);
  assert.ok(hosts.exchange('10.0.1.100:40001', name));
});

test('the trash is emptied after two minutes of nobody', () => {
  const simulation = new Simulation();
  withServers(simulation, 2);
  const hosts = new Hosts(simulation);
  hosts.connect('10.0.1.100:40001', SERVICE, true);
  for (const number of [1, 2]) {
    simulation.director.execute({ command: 'delete-server', service: key, server: server(number) });
  }
  const inTrash = () => {
    simulation.director.emptyTrash();
    return simulation.director.trash.map((one) => one.server.key.address);
  };
  simulation.advance(1190);
  assert.equal(inTrash().length, 2);
  simulation.advance(20);
  assert.deepEqual(inTrash(), [serverAddress(2)], 'the one with a connection stays');
  simulation.advance(9000);
  assert.deepEqual(inTrash(), []);
  assert.equal(simulation.tables.realServers.freeCount, REAL_SERVERS_MAX - 1, 'slots are free');
});

test('zero sets the counters of one service back, or of all', () => {
  const simulation = new Simulation();
  withServers(simulation, 1);
  withServers(simulation, 1, { protocol: 'udp' });
  const hosts = new Hosts(simulation);
  const created = () =>
    listServices(simulation.director).services.map((service) => [
      service.protocol,
      service.statistics.connections,
      service.servers[0]!.statistics.connections,
    ]);
  hosts.connect('10.0.1.100:40001', SERVICE);
  hosts.datagram('10.0.1.100:40001', SERVICE, 1);
  simulation.director.execute({ command: 'zero', service: key });
  assert.deepEqual(created().sort(), [
    ['tcp', 0, 0],
    ['udp', 1, 1],
  ]);
  hosts.connect('10.0.1.100:40002', SERVICE);
  simulation.director.execute({ command: 'zero', service: null });
  assert.deepEqual(created().sort(), [
    ['tcp', 0, 0],
    ['udp', 0, 0],
  ]);
});

test('timeouts: 0 keeps', () => {
  const simulation = new Simulation();
  const set = (tcp: number, tcpFin: number, udp: number) => {
    simulation.director.execute({ command: 'set-timeouts', timeouts: { tcp, tcpFin, udp } });
    return simulation.director.timeouts;
  };
  assert.deepEqual(simulation.director.timeouts, { tcp: 900, tcpFin: 120, udp: 300 });
  assert.deepEqual(set(100, 0, 0), { tcp: 100, tcpFin: 120, udp: 300 });
  assert.deepEqual(set(0, 50, 30), { tcp: 100, tcpFin: 50, udp: 30 });
});

/** IPVS's list and round robin's place in it, as a model. */
class Model {
  list: number[] = [];
  /** Server after which the next search begins; null: before the head. */
  last: number | null = null;

  add(number: number): void {
    this.list.unshift(number);
  }
  remove(number: number): void {
    const at = this.list.indexOf(number);
    this.list.splice(at, 1);
    if (this.last === number) this.last = this.list[at - 1] ?? null;
  }
  next(): number | null {
    if (this.list.length === 0) return null;
    const at = this.last === null ? -1 : this.list.indexOf(this.last);
    this.last = this.list[(at + 1) % this.list.length]!;
    return this.last;
  }
}

test('round robin’s place survives adding and removing, as in a linked list', () => {
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 4 }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      const simulation = new Simulation();
      const service = simulation.addService({ protocol: 'udp' });
      const hosts = new Hosts(simulation);
      let port = 1024;
      const model = new Model();
      const { services, realServers } = simulation.tables;
      const { slot } = simulation.director.find(service)!;
      for (const number of steps) {
        if (number === null) {
          const expected = model.next();
          const answer = hosts.datagram(`10.0.1.100:${port++}`, SERVICE, 1);
          assert.equal(answer, expected === null ? REFUSED : `rs${expected}`);
        } else if (model.list.includes(number)) {
          simulation.director.execute({
            command: 'delete-server',
            service,
            server: server(number),
          });
          model.remove(number);
        } else {
          simulation.director.execute({ command: 'add-server', ...change(number), service });
          model.add(number);
        }
        const inTable: number[] = [];
        for (let at = services.firstServer(slot); at !== 0; at = realServers.next(at)) {
          inTable.push(realServers.address4(at) - 0x0a00020a);
        }
        assert.deepEqual(inTable, model.list);
      }
    }),
    { numRuns: 40 },
  );
});

test('an edit with the same scheduler keeps the place', () => {
  const simulation = new Simulation();
  withServers(simulation, 3);
  const hosts = new Hosts(simulation);
  assert.equal(hosts.connect('10.0.1.100:1', SERVICE), 'rs3');
  simulation.director.execute({ command: 'edit-service', service: key, settings });
  assert.equal(hosts.connect('10.0.1.100:2', SERVICE), 'rs2');
});

const spec = (
  service: ServiceKey,
  numbers: readonly number[],
  fields: Partial<ServerSettings> = {},
): ServiceSpec => ({
  service,
  settings,
  servers: numbers.map((number) => ({ server: server(number), settings: serverSettings(fields) })),
});

test('apply leaves alone what stays: slots, counters, connections, the scheduler’s place', () => {
  const simulation = new Simulation();
  simulation.director.apply([spec(key, [1, 2, 3]), spec(other, [1])]);
  const hosts = new Hosts(simulation);
  assert.equal(hosts.connect('10.0.1.100:1', SERVICE, true), 'rs3');
  const before = simulation.director.find(key)!;
  const slots = before.servers.map(({ slot }) => slot);
  const text = seen(simulation);
  simulation.director.apply([spec(key, [1, 2, 3]), spec(other, [1])]);
  assert.equal(seen(simulation), text, 'the same again changes nothing');
  simulation.director.apply([
    spec(key, [1, 3, 4], { weight: 2 }),
    spec(serviceKey({ port: 82 }), [2]),
  ]);
  assert.equal(simulation.director.find(other), undefined);
  assert.equal(simulation.director.find(serviceKey({ port: 82 }))!.servers.length, 1);
  const after = simulation.director.find(key)!;
  assert.equal(after.slot, before.slot);
  const bySlot = after.servers.map((one) => `${one.key.address} ${one.settings.weight}`).sort();
  assert.deepEqual(
    bySlot,
    [1, 3, 4].map((number) => `${serverAddress(number)} 2`),
  );
  assert.equal(simulation.serverSlot(key, serverAddress(3)), slots[0]);
  assert.ok(hosts.exchange('10.0.1.100:1', 'rs3'));
  assert.equal(hosts.connect('10.0.1.100:2', SERVICE), 'rs1', 'after rs3; rs2 is gone');
});

test('apply refuses whole', () => {
  const good = spec(other, [1, 2]);
  const bad: readonly (readonly [ServiceSpec[], string])[] = [
    [[good, spec(key, [1], { weight: -1 })], 'ERR_VALUE'],
    [[good, spec(serviceKey({ port: 90 }), [3, 3])], 'ERR_SERVER_EXISTS'],
    [[good, spec(key, [1]), spec(key, [2])], 'ERR_SERVICE_EXISTS'],
    [
      [good, { ...good, service: key, settings: serviceSettings({ scheduler: 'x' }) }],
      'ERR_SCHEDULER_UNKNOWN',
    ],
  ];
  for (const [specs, code] of bad) {
    const simulation = new Simulation();
    simulation.director.apply([spec(key, [1, 2])]);
    const before = seen(simulation);
    assert.throws(
      () => simulation.director.apply(specs),
      (error: unknown) => (error as DirectorError).code === code,
      code,
    );
    assert.equal(seen(simulation), before, code);
    assert.equal(simulation.tables.settings.serviceCount, 1);
  }
});

test('whoever is to know is told of each change, and not of a refusal', () => {
  const simulation = new Simulation();
  let told = 0;
  const director = new Director(simulation.tables, () => told++);
  director.execute({ command: 'add-service', service: key, settings });
  director.execute({ command: 'add-server', ...change(1) });
  assert.throws(() => director.execute({ command: 'add-server', ...change(1) }));
  assert.equal(told, 2);
  director.apply([spec(key, [1])]);
  assert.equal(told, 2);
  director.apply([]);
  assert.equal(told, 3);
  assert.equal(simulation.tables.settings.serviceCount, 0);
});
