/** Real servers that are the director itself: which are taken, and what is said of the others. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { refusalText } from '#xvs/cli/errors';
import { DirectorError } from '#xvs/control/error';
import { LocalServerWatch } from '#xvs/control/localServer';
import type { ServerSettings, ServiceKey, ServiceSpec } from '#xvs/control/protocol';
import {
  Simulation,
  serverAddress,
  serverSettings,
  serviceKey,
  serviceSettings,
  VIP,
  VIP6,
} from '../../support/simulation';

type Method = ServerSettings['method'];

interface Row {
  readonly service: Partial<ServiceKey>;
  readonly server: string;
  readonly port: number;
  readonly method: Method;
  readonly persistent?: true;
}

const WEB6 = { family: 6, address: VIP6 } as const;
const MARKED = { address: '0.0.0.0', port: 0, fwmark: 7 } as const;

const TAKEN: readonly Row[] = [
  { service: {}, server: VIP, port: 80, method: 'nat' },
  { service: {}, server: VIP, port: 0, method: 'nat' },
  { service: WEB6, server: VIP6, port: 80, method: 'nat' },
  { service: { port: 0 }, server: VIP, port: 8000, method: 'nat', persistent: true },
  { service: {}, server: '10.0.2.1', port: 80, method: 'dr' },
  { service: {}, server: '10.0.2.1', port: 80, method: 'tunnel' },
  { service: {}, server: 'fd00:2::1', port: 80, method: 'tunnel' },
  { service: WEB6, server: 'fd00:2::1', port: 80, method: 'dr' },
  { service: MARKED, server: VIP, port: 80, method: 'nat' },
  // Not the host's.
  { service: {}, server: serverAddress(1), port: 8000, method: 'nat' },
  { service: {}, server: serverAddress(1), port: 8000, method: 'fullnat' },
];

const REFUSED: readonly Row[] = [
  { service: {}, server: VIP, port: 8000, method: 'nat' },
  { service: {}, server: '10.0.2.1', port: 80, method: 'nat' },
  { service: {}, server: '10.0.2.1', port: 8000, method: 'nat' },
  { service: {}, server: VIP, port: 80, method: 'fullnat' },
  { service: MARKED, server: VIP, port: 80, method: 'fullnat' },
  { service: WEB6, server: VIP6, port: 8000, method: 'nat' },
  { service: WEB6, server: 'fd00:2::1', port: 80, method: 'nat' },
  { service: WEB6, server: VIP6, port: 80, method: 'fullnat' },
];

function specOf({ service, server: address, port, method, persistent }: Row): ServiceSpec {
  const key = serviceKey(service);
  const netmask = key.family === 6 ? '128' : '255.255.255.255';
  const family = address.includes(':') ? 6 : 4;
  return {
    service: key,
    settings: serviceSettings({ netmask, persistentTimeout: persistent ? 300 : 0 }),
    servers: [{ server: { family, address, port }, settings: serverSettings({ method }) }],
  };
}

function add(simulation: Simulation, { service, settings, servers }: ServiceSpec): void {
  simulation.director.execute({ command: 'add-service', service, settings });
  for (const server of servers) {
    simulation.director.execute({ command: 'add-server', service, ...server });
  }
}

const nameOf = ({ service, server, port, method }: Row): string =>
  `${service.fwmark ? 'mark' : (service.address ?? VIP)}:${service.port ?? 80} > ` +
  `${server}:${port} ${method}`;

describe('a real server at an address of the director', () => {
  for (const row of TAKEN) {
    test(`taken: ${nameOf(row)}`, () => {
      const [one, whole] = [new Simulation(), new Simulation()];
      add(one, specOf(row));
      whole.director.apply([specOf(row)]);
      for (const { director } of [one, whole]) {
        assert.equal(director.services[0]!.servers.length, 1);
      }
    });
  }

  for (const row of REFUSED) {
    test(`refused: ${nameOf(row)}`, () => {
      const simulation = new Simulation();
      const spec = specOf(row);
      const isRefusal = (error: Error): boolean =>
        error instanceof DirectorError && error.code === 'ERR_NOT_SUPPORTED';
      assert.throws(() => simulation.director.apply([spec]), isRefusal);
      assert.equal(simulation.director.serviceCount, 0);
      assert.throws(() => add(simulation, spec), isRefusal);
      assert.deepEqual(simulation.director.services[0]!.servers, []);
    });
  }
});

test('the refusal names service, server and what is allowed, to who uses xvsadm too', () => {
  const texts = [
    [REFUSED[2]!, '198.51.100.1:80 with nat, '],
    [REFUSED[6]!, '[fd00:100::1]:80 with nat, '],
    [REFUSED[4]!, ''],
  ] as const;
  const said = texts.map(([row]) => {
    let refused: unknown;
    try {
      add(new Simulation(), specOf(row));
    } catch (error) {
      refused = error;
    }
    assert.ok(refused instanceof DirectorError);
    const { code, errno, message } = refused;
    return refusalText('add-server', { code, errno, message });
  });
  const servers = [
    'service tcp 198.51.100.1:80: real server 10.0.2.1:8000, nat',
    'service tcp [fd00:100::1]:80: real server [fd00:2::1]:80, nat',
    'service fwmark 7 4: real server 198.51.100.1:80, fullnat',
  ];
  assert.deepEqual(
    said,
    servers.map(
      (server, at) =>
        `${server}: the address is this host's own, whose answers are not translated back; ` +
        `allowed are ${texts[at]![1]}any address of this host with dr or tunnel`,
    ),
  );
});

test('another method is refused as well, everything else of such a server may be changed', () => {
  const simulation = new Simulation();
  const service = simulation.addService();
  simulation.addServer(service, '10.0.2.1', 80, { method: 'dr' });
  const server = { family: 4, address: '10.0.2.1', port: 80 } as const;
  const edit = (settings: Partial<ServerSettings>): void =>
    simulation.director.execute({
      command: 'edit-server',
      service,
      server,
      settings: serverSettings(settings),
    });
  assert.throws(
    () => edit({ method: 'nat' }),
    /10\.0\.2\.1:80, nat: the address is this host's own/,
  );
  assert.equal(simulation.director.services[0]!.servers[0]!.settings.method, 'dr');
  edit({ method: 'tunnel', weight: 5 });
  const spec = (method: Method, weight: number): ServiceSpec => ({
    service,
    settings: serviceSettings(),
    servers: [{ server, settings: serverSettings({ method, weight }) }],
  });
  assert.throws(() => simulation.director.apply([spec('nat', 1)]), /this host's own/);
  simulation.director.apply([spec('dr', 7)]);
  assert.equal(simulation.director.services[0]!.servers[0]!.settings.weight, 7);
});

test('a server whose address becomes the host’s own stays, and is warned of once', () => {
  const simulation = new Simulation();
  const { director } = simulation;
  const said: string[] = [];
  const watch = new LocalServerWatch((message) => said.push(message));
  const row: Row = { service: {}, server: serverAddress(1), port: 8000, method: 'nat' };
  const [mapped, direct] = [
    specOf(row),
    specOf({ ...row, service: { port: 81 }, port: 81, method: 'dr' }),
  ];
  director.apply([mapped, direct]);
  watch.look(director);
  assert.deepEqual(said, []);
  simulation.becomeOwn(serverAddress(1));
  watch.look(director);
  watch.look(director);
  simulation.becomeOwn(serverAddress(3));
  watch.look(director);
  assert.equal(said.length, 1);
  assert.match(said[0]!, /^service tcp 198\.51\.100\.1:80: real server 10\.0\.2\.11:8000, nat: /);
  assert.match(said[0]!, /; its packets are dropped$/);
  // Whole configurations are still taken, and its weight may be changed.
  const quiet = { ...mapped.servers[0]!, settings: serverSettings({ weight: 0 }) };
  director.apply([{ ...mapped, servers: [quiet] }, direct]);
  director.execute({ command: 'edit-server', service: mapped.service, ...mapped.servers[0]! });
  director.execute({ command: 'delete-server', service: mapped.service, ...quiet });
  simulation.becomeOwn(serverAddress(4));
  watch.look(director);
  assert.equal(said.length, 1);
});
