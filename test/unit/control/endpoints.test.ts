import assert from 'node:assert/strict';
import test from 'node:test';
import { natEndpoints } from '#xvs/control/endpoints';
import { addressText } from '#xvs/control/netlink';
import { Simulation } from '../../support/simulation';

test('endpoints of NAT servers: both families, once each, every protocol for a mark', () => {
  const simulation = new Simulation();
  const plain = simulation.addService({});
  simulation.addServer(plain, '10.0.2.11', 8000);
  simulation.addServer(plain, '10.0.2.12', 8000, { method: 'dr' });
  const again = simulation.addService({ port: 81 });
  simulation.addServer(again, '10.0.2.11', 8000);
  const six = simulation.addService(
    { family: 6, protocol: 'udp', address: '2001:db8::1' },
    { netmask: '128' },
  );
  simulation.addServer(six, 'fd00::11', 53);
  const marked = simulation.addService(
    { family: 6, fwmark: 7, address: '::', port: 0 },
    { netmask: '128' },
  );
  simulation.addServer(marked, 'fd00::12', 0);
  const found = natEndpoints(simulation.director).map(
    ({ protocol, address, port }) => `${protocol} ${addressText(address)} ${port}`,
  );
  assert.deepEqual(found.sort(), [
    '132 fd00::12 0',
    '17 fd00::11 53',
    '17 fd00::12 0',
    '6 10.0.2.11 8000',
    '6 fd00::12 0',
  ]);
});
