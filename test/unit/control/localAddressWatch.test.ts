/** A local address that is none of the host's is warned of, once, and again when it goes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalAddressWatch } from '#xvs/control/localAddressWatch';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { Simulation } from '../../support/simulation';

test('each address that is not the host’s is named once, with its service', () => {
  const { director } = new Simulation();
  const said: string[] = [];
  const watch = new LocalAddressWatch((message) => said.push(message));
  const services = (['198.51.100.1', 'fd00:100::1'] as const).map((address) => {
    const family = address.includes(':') ? 6 : 4;
    return { family, protocol: 'tcp', address, port: 80, fwmark: 0 } as const;
  });
  const settings = {
    scheduler: 'rr',
    persistentTimeout: 0,
    onePacket: false,
    schedulerFlags: [false, false, false],
    persistenceEngine: '',
  } as const;
  for (const service of services) {
    const netmask = service.family === 4 ? '255.255.255.255' : '128';
    director.execute({ command: 'add-service', service, settings: { ...settings, netmask } });
  }
  const add = (at: 0 | 1, address: string): void => {
    const command = { command: 'add-local-address', service: services[at]!, address } as const;
    director.execute(command);
    watch.changed(director, command);
  };
  add(0, '10.0.2.77');
  assert.equal(said.length, 0, 'the host’s addresses are not known yet');
  watch.own6([[...addressWords('fd00:2::1')]]);
  watch.own4([parseIpv4('10.0.2.1')]);
  const one = 'service tcp 198.51.100.1:80: local address 10.0.2.77 is none of this host';
  assert.equal(said.length, 1);
  assert.ok(said[0]!.startsWith(one), said[0]);
  add(0, '10.0.2.1');
  add(1, 'fd00:2::1');
  watch.changed(director, null);
  assert.equal(said.length, 1);
  add(1, 'fd00:2::77');
  assert.equal(said.length, 2);
  assert.match(said[1]!, /service tcp \[fd00:100::1\]:80: local address fd00:2::77 is none/);
  watch.own4([parseIpv4('10.0.2.1'), parseIpv4('10.0.2.77')]);
  watch.own4([parseIpv4('10.0.2.1')]);
  assert.equal(said.length, 3, 'it was the host’s for a while');
  watch.own6([]);
  assert.equal(said.length, 4, 'fd00:2::1 went');
});
