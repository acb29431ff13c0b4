/** What goes over the socket is what was asked for; what does not fit together is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseApplyRequest } from '#xvs/control/apply';
import { packRequest } from '#xvs/control/applyPack';
import type {
  ApplyRequest,
  ServerSettings,
  ServerSpec,
  ServiceSettings,
  ServiceSpec,
} from '#xvs/control/protocol';

const address = fc.constantFrom('10.0.0.1', '192.168.7.250', 'fd00::1', '2001:db8::5:0');
const port = fc.integer({ min: 0, max: 65535 });
const serverSettings: fc.Arbitrary<ServerSettings> = fc.record({
  method: fc.constantFrom('nat', 'dr', 'tunnel'),
  weight: fc.integer({ min: 0, max: 3 }),
  upperThreshold: fc.integer({ min: 0, max: 2 }),
  lowerThreshold: fc.constant(0),
  tunnel: fc.record({
    type: fc.constantFrom('ipip', 'gue', 'gre'),
    port: fc.constantFrom(0, 6080),
    checksum: fc.constantFrom('nocsum', 'csum', 'remcsum'),
  }),
});
const server: fc.Arbitrary<ServerSpec> = fc
  .record({ address, port, settings: serverSettings })
  .map(({ settings, ...at }) => ({
    server: { family: at.address.includes(':') ? 6 : 4, ...at },
    settings,
  }));
const serviceSettings: fc.Arbitrary<ServiceSettings> = fc.record({
  scheduler: fc.constantFrom('rr', 'wlc'),
  persistentTimeout: fc.constantFrom(0, 360),
  netmask: fc.constantFrom('255.255.255.255', '128'),
  onePacket: fc.boolean(),
  schedulerFlags: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
  persistenceEngine: fc.constantFrom('', 'sip'),
});
const spec: fc.Arbitrary<ServiceSpec> = fc
  .record({
    key: fc.record({ address, port, fwmark: fc.constantFrom(0, 66) }),
    settings: serviceSettings,
    servers: fc.array(server, { maxLength: 8 }),
    localAddresses: fc.option(fc.array(address, { maxLength: 2 }), { nil: undefined }),
  })
  .map(({ key, settings, servers, localAddresses }): ServiceSpec => {
    const family = key.address.includes(':') ? 6 : 4;
    const plain = { service: { family, protocol: 'tcp', ...key } as const, settings, servers };
    return localAddresses === undefined ? plain : { ...plain, localAddresses };
  });

function requestOf(services: readonly ServiceSpec[]): ApplyRequest {
  const timeouts = { tcp: 1, tcpFin: 2, udp: 0 };
  const marks = [{ family: 4, rule: '-j MARK --set-mark 7' }] as const;
  return { services, marks, timeouts, sysctl: { drop_entry: 1 }, startup: {}, dryRun: true };
}

test('a request comes out as it went in', () => {
  const property = fc.property(fc.array(spec, { maxLength: 8 }), (services) => {
    const request = requestOf(services);
    const sent = JSON.stringify(packRequest(request));
    assert.deepEqual(parseApplyRequest(sent), JSON.parse(JSON.stringify(request)));
  });
  fc.assert(property, { numRuns: 200 });
});

test('settings that are the same are sent once and kept once', () => {
  const settings = fc.sample(serverSettings, { numRuns: 1, seed: 1 })[0]!;
  const servers = Array.from({ length: 1000 }, (_none, at): ServerSpec => {
    const weight = at % 2;
    const server = { family: 4, address: '10.0.0.1', port: at } as const;
    return { server, settings: { ...settings, weight, tunnel: { ...settings.tunnel } } };
  });
  const service = { family: 4, protocol: 'tcp', address: '10.0.0.1', port: 80, fwmark: 0 } as const;
  const [of] = fc.sample(serviceSettings, { numRuns: 1, seed: 1 });
  const packed = packRequest(requestOf([{ service, settings: of!, servers }]));
  assert.equal(packed.serverSettings.length, 2);
  const [kept] = parseApplyRequest(JSON.stringify(packed)).services;
  assert.equal(new Set(kept!.servers.map((one) => one.settings)).size, 2);
});

test('lists that do not fit together and unknown numbers are refused by name', () => {
  const [one] = fc.sample(spec, { numRuns: 1, seed: 3 });
  const [of] = fc.sample(server, { numRuns: 1, seed: 3 });
  const packed = packRequest(requestOf([{ ...one!, servers: [of!, of!] }]));
  const [service] = packed.services;
  const wrong = (change: object): string => JSON.stringify({ ...packed, ...change });
  const cases: readonly (readonly [body: string, said: RegExp])[] = [
    [wrong({ services: [{ ...service, ports: [80] }] }), /services\.0: 2 addresses, 1 ports/],
    [wrong({ services: [{ ...service, settings: 1 }] }), /services\.0\.settings 1: 0 to 0/],
    [
      wrong({ services: [{ ...service, serverSettings: [0, 9] }] }),
      /services\.0\.serverSettings\.1 9: 0 to 0 are allowed/,
    ],
    [wrong({ services: [{ ...service, settings: -1 }] }), /services\.0\.settings: /],
    [wrong({ services: [{ ...service, addresses: ['10.0.0.1', 'x'] }] }), /addresses\.1: no IP/],
    [wrong({ services: [{ ...service, ports: [80, 65536] }] }), /services\.0\.ports\.1: /],
  ];
  for (const [body, said] of cases) {
    assert.throws(() => parseApplyRequest(body), { code: 'ERR_REQUEST', message: said });
  }
});
