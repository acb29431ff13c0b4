/** Listings: recorded ones read into the protocol's objects and printed again, byte for byte. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { NUMERIC_NAMES } from '#xvs/cli/names';
import { largeNumber } from '#xvs/cli/numbers';
import { arrangeServices, printServices, printSyncDaemons } from '#xvs/cli/print';
import { printConnections } from '#xvs/cli/printConnections';
import type { ListFormat, OutputView } from '#xvs/cli/request';
import { printRules } from '#xvs/cli/save';
import { mergeSort, sortServers, sortServices } from '#xvs/cli/sort';
import type {
  ConnectionListing,
  ServerListing,
  ServiceList,
  ServiceListing,
  Statistics,
} from '#xvs/control/protocol';
import { CLI_GOLDENS, RECORDED_VIEW } from '../../support/cliGolden';

interface Listing {
  readonly from: string;
  readonly cmd: string;
  readonly stdout: string;
}

const LISTINGS = readFileSync(join(CLI_GOLDENS, 'listings.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Listing);

const ZERO: Statistics = {
  connections: 0,
  inPackets: 0,
  outPackets: 0,
  inBytes: 0,
  outBytes: 0,
};
const SERVICE: ServiceListing = {
  family: 4,
  protocol: 'tcp',
  address: '10.1.1.1',
  port: 80,
  fwmark: 0,
  scheduler: 'rr',
  persistentTimeout: 0,
  netmask: '255.255.255.255',
  onePacket: false,
  schedulerFlags: [false, false, false],
  persistenceEngine: '',
  statistics: ZERO,
  rates: ZERO,
  servers: [],
};
const SERVER: ServerListing = {
  family: 4,
  address: '10.2.2.1',
  port: 80,
  method: 'nat',
  weight: 1,
  upperThreshold: 0,
  lowerThreshold: 0,
  tunnel: { type: 'ipip', port: 0, checksum: 'nocsum' },
  active: 0,
  inactive: 0,
  persistent: 0,
  overloaded: false,
  statistics: ZERO,
  rates: ZERO,
};

function format(view: OutputView = 'default', exact = false): ListFormat {
  return { view, numeric: true, exact, sorted: true, json: false };
}

function endpointOf(text: string): { family: 4 | 6; address: string; port: number } {
  const colon = text.lastIndexOf(':');
  const address = text.slice(0, colon).replace(/^\[|\]$/g, '');
  const ports: Readonly<Record<string, number>> = { http: 80 };
  const word = text.slice(colon + 1);
  return { family: address.includes(':') ? 6 : 4, address, port: ports[word] ?? Number(word) };
}

function statisticsOf(columns: readonly string[]): Statistics {
  const [connections = 0, inPackets = 0, outPackets = 0, inBytes = 0, outBytes = 0] =
    columns.map(Number);
  return { connections, inPackets, outPackets, inBytes, outBytes };
}

const METHODS = { Masq: 'nat', Tunnel: 'tunnel', Route: 'dr', Local: 'local' } as const;

function serverOf(line: string, view: OutputView): ServerListing {
  const [, name = '', ...columns] = line.trim().split(/\s+/);
  const server = { ...SERVER, ...endpointOf(name) };
  if (view === 'stats') return { ...server, statistics: statisticsOf(columns) };
  const numbers = columns.map(Number);
  const [first = 0, second = 0, active = 0, inactive = 0] = numbers;
  if (view === 'thresholds') {
    return { ...server, upperThreshold: first, lowerThreshold: second, active, inactive };
  }
  if (view === 'persistent-conn') {
    return { ...server, weight: first, persistent: second, active, inactive };
  }
  const method = METHODS[(columns[0] ?? 'Masq') as keyof typeof METHODS];
  return { ...server, method, weight: second, active, inactive };
}

function serviceOf(line: string, view: OutputView): ServiceListing {
  const [kind = '', name = '', ...rest] = line.trim().split(/\s+/);
  const mark = kind === 'FWM';
  const ipv6 = mark && rest[0] === 'IPv6';
  const words = ipv6 ? rest.slice(1) : rest;
  const key = mark
    ? { fwmark: Number(name), family: ipv6 ? (6 as const) : (4 as const) }
    : { ...endpointOf(name), protocol: kind.toLowerCase() as 'tcp' | 'udp' | 'sctp' };
  const service = { ...SERVICE, ...key };
  if (view === 'stats') return { ...service, statistics: statisticsOf(words) };
  const wordAfter = (word: string): string | undefined => words[words.indexOf(word) + 1];
  const flags = /\((.*)\)/.exec(line)?.[1] ?? '';
  return {
    ...service,
    scheduler: words[0] ?? '',
    schedulerFlags: [flags.includes('fallback'), flags.includes('port'), false],
    persistentTimeout: words.includes('persistent') ? Number(wordAfter('persistent')) : 0,
    netmask:
      (words.includes('mask') ? wordAfter('mask') : undefined) ??
      (service.family === 6 ? '128' : '255.255.255.255'),
    onePacket: words.includes('ops'),
  };
}

function tableOf(text: string, view: OutputView): ServiceList {
  const [head = '', , , ...lines] = text.trimEnd().split('\n');
  const services: ServiceListing[] = [];
  for (const line of lines) {
    const last = services.at(-1);
    if (!line.startsWith('  ->')) services.push(serviceOf(line, view));
    else if (last !== undefined) {
      services[services.length - 1] = { ...last, servers: [serverOf(line, view), ...last.servers] };
    }
  }
  return { connectionTableSize: Number(/size=(\d+)/.exec(head)?.[1]), services };
}

function connectionOf(line: string): ConnectionListing {
  const [protocol = '', expiry = '', state = '', client = '', virtual = '', real = ''] = line
    .trim()
    .split(/\s+/);
  const [minutes = 0, seconds = 0] = expiry.split(':').map(Number);
  const from = endpointOf(client);
  const to = endpointOf(virtual);
  const server = endpointOf(real);
  return {
    protocol: protocol as ConnectionListing['protocol'],
    family: from.family,
    expiresSeconds: minutes * 60 + seconds,
    ageSeconds: 0,
    state,
    client: from.address,
    clientPort: from.port,
    virtual: to.address,
    virtualPort: to.port,
    real: server.address,
    realPort: server.port,
  };
}

const VIEWS = ['stats', 'thresholds', 'persistent-conn'] as const;

for (const [index, { from, cmd, stdout }] of LISTINGS.entries()) {
  test(`recorded listing ${index}: ${from}: ${cmd}`, () => {
    if (cmd.endsWith('--timeout')) return;
    if (/-L\w*c/.test(cmd)) {
      const connections = stdout.trimEnd().split('\n').slice(2).map(connectionOf);
      const names = cmd.startsWith('ipvsadm -Lc') ? RECORDED_VIEW : NUMERIC_NAMES;
      const printed = printConnections(connections, cmd.includes('--persistent-conn'), names);
      assert.equal(printed, stdout);
      return;
    }
    const view = VIEWS.find((name) => cmd.includes(`--${name}`)) ?? 'default';
    const sorted = !cmd.includes('--nosort');
    const table = tableOf(stdout, view);
    const list = sorted
      ? arrangeServices(table, true)
      : {
          ...table,
          services: table.services.map((one) => ({ ...one, servers: one.servers.toReversed() })),
        };
    assert.equal(printServices(list, true, format(view), NUMERIC_NAMES), stdout);
  });
}

const LARGE: readonly (readonly [number, string, string])[] = [
  [0, '        0', '        0'],
  [99_999_999, ' 99999999', ' 99999999'],
  [100_000_000, '  100000K', ' 100000000'],
  [123_456_789, '  123456K', ' 123456789'],
  [999_999_999, '  999999K', ' 999999999'],
  [1_234_567_890, '    1234M', ' 1234567890'],
  [99_999_999_999, '   99999M', ' 99999999999'],
  [100_000_000_000, '     100G', ' 100000000000'],
  [99_999_999_999_999, '   99999G', ' 99999999999999'],
  [12_345_678_901_234_568, '   12345T', ' 12345678901234568'],
];

for (const [value, short, exact] of LARGE) {
  test(`large number ${value}`, () => {
    assert.equal(largeNumber(value, false), short);
    assert.equal(largeNumber(value, true), exact);
  });
}

test('rates: the first three columns of a server have no unit', () => {
  const rates = {
    connections: 1,
    inPackets: 123_456_789,
    outPackets: 2,
    inBytes: 3e9,
    outBytes: 4,
  };
  const server = { ...SERVER, rates };
  const list = { connectionTableSize: 1, services: [{ ...SERVICE, rates, servers: [server] }] };
  const [service, real] = printServices(list, false, format('rate'), NUMERIC_NAMES)
    .split('\n')
    .slice(2);
  assert.equal(
    service,
    'TCP  10.1.1.1:80                         1  123456K        2    3000M        4',
  );
  assert.equal(
    real,
    '  -> 10.2.2.1:80                         1 123456789        2    3000M        4',
  );
});

test('tunnels, thresholds and fullnat in their columns', () => {
  const gue = { type: 'gue', port: 6080, checksum: 'remcsum' } as const;
  const servers: readonly ServerListing[] = [
    { ...SERVER, method: 'tunnel', tunnel: gue },
    { ...SERVER, address: '10.2.2.2', method: 'fullnat', weight: 65535 },
  ];
  const list = { connectionTableSize: 1, services: [{ ...SERVICE, servers }] };
  const rows = printServices(list, false, format('tun-info'), NUMERIC_NAMES).split('\n');
  assert.equal(
    rows[3],
    '  -> 10.2.2.1:80                  Tunnel  gue:6080:r+c  1      0          0         ',
  );
  assert.equal(
    rows[4],
    '  -> 10.2.2.2:80                  FullNat n/a           65535  0          0         ',
  );
  assert.match(
    printRules(list, NUMERIC_NAMES),
    /-i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum\n/,
  );
  assert.match(printRules(list, NUMERIC_NAMES), /-r 10\.2\.2\.2:80 --fullnat -w 65535\n/);
});

test('long names of IPv4 are cut, those of IPv6 are not', () => {
  const names = { host: () => 'a-very-long-name.of.a.host.example', service: () => 'http' };
  const six = { ...SERVICE, family: 6 as const, address: '::1', netmask: '128' };
  const services = [{ ...SERVICE, servers: [SERVER] }, six];
  const rows = printServices({ connectionTableSize: 1, services }, false, format(), names).split(
    '\n',
  );
  assert.equal(rows[2], 'TCP  a-very-long-name.of.a.host.e rr');
  assert.equal(rows[3], '  -> a-very-long-name.of.a.host.e Masq    1      0          0         ');
  assert.equal(rows[4], 'TCP  [a-very-long-name.of.a.host.example]:http rr');
});

test('a persistence engine is shown with persistence only, but always saved', () => {
  const engine = { ...SERVICE, persistenceEngine: 'engine' };
  const persistent = { ...engine, persistentTimeout: 360 };
  const list = { connectionTableSize: 1, services: [engine, persistent] };
  const rows = printServices(list, false, format(), NUMERIC_NAMES).split('\n').slice(2, 4);
  assert.deepEqual(rows, ['TCP  10.1.1.1:80 rr', 'TCP  10.1.1.1:80 rr persistent 360 pe engine']);
  const [alone = '', both = ''] = printRules(list, NUMERIC_NAMES).split('\n');
  assert.match(alone, /-s rr --pe engine$/);
  assert.match(both, /-s rr -p 360 --pe engine$/);
});

test('sync daemons: the master first, zero values left out', () => {
  const daemon = { interface: 'eth0', syncId: 7, maxLength: 0, group: '', port: 0, ttl: 0 };
  const text = printSyncDaemons([
    { ...daemon, role: 'backup' },
    { ...daemon, role: 'master', maxLength: 1472, group: '224.0.0.81', port: 8848, ttl: 1 },
  ]);
  assert.equal(
    text,
    'master sync daemon (mcast=eth0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n' +
      'backup sync daemon (mcast=eth0, syncid=7)\n',
  );
});

test('addresses 2^31 or more apart sort the other way round', () => {
  const order = (...addresses: readonly string[]): readonly string[] =>
    sortServices(addresses.map((address) => ({ ...SERVICE, address }))).map((one) => one.address);
  assert.deepEqual(order('10.0.0.1', '192.168.0.1'), ['192.168.0.1', '10.0.0.1']);
  assert.deepEqual(order('100.64.0.1', '10.0.0.1', '10.0.0.0'), [
    '10.0.0.0',
    '10.0.0.1',
    '100.64.0.1',
  ]);
});

/** As ipvsadm 1.31 sorts them: seen by running it on a table of its own. */
test('servers of both families are sorted by the first word of the address', () => {
  const server = (address: string): ServerListing => ({
    ...SERVER,
    address,
    family: address.includes(':') ? 6 : 4,
  });
  const order = (...addresses: readonly string[]): readonly string[] =>
    sortServers(addresses.map(server)).map(({ address }) => address);
  const mixed = ['10.9.9.9', '2001:db8::20', '127.0.0.1'];
  assert.deepEqual(order('127.0.0.1', '2001:db8::20', '10.9.9.9'), mixed);
  assert.deepEqual(order('2001:db8::20', '10.9.9.9', '127.0.0.1'), mixed);
  assert.deepEqual(order('fd00::2', 'fd00::1', '2001:db8::1'), [
    'fd00::1',
    'fd00::2',
    '2001:db8::1',
  ]);
});

test('merge sort is stable and sorts', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(5), fc.nat())), (pairs) => {
      const tagged = pairs.map(([key], index) => ({ key, index }));
      const compare = (left: { key: number }, right: { key: number }) => left.key - right.key;
      assert.deepEqual(mergeSort(tagged, compare), tagged.toSorted(compare));
    }),
  );
});
