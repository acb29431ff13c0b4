/** `xvs connections`: filters, order, counts; a million entries do not stall the main thread. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { ConnectionDump } from '#xvs/control/connectionDump';
import type { ConnectionCounts, ConnectionList, ConnectionQuery } from '#xvs/control/protocol';
import { addressWords } from '#xvs/net/address';
import { CONNECTION, CONNECTION_TEMPLATE, TEMPLATE_OF_MARK6 } from '#xvs/table/connection';
import { selectConnections } from '../../../support/selectConnections';
import { cpuMsOf, longestStall, SLICES_MS } from '../../../support/stall';
import { type Entry, NOW, Stand } from './director';

const STATES = ['ESTABLISHED', 'FIN_WAIT', 'TIME_WAIT'];

/** 200 entries that differ in everything; every eighth is IPv6. */
const ENTRIES: readonly Entry[] = Array.from({ length: 200 }, (_, at) => ({
  protocol: at % 5 === 0 ? 'UDP' : 'TCP',
  ...(at % 8 === 0
    ? { client: `fd00:${1 + (at % 3)}::${1 + (at % 7)}`, virtual: 'fd00:100::1' }
    : { client: `10.${at % 4}.0.${at % 7}`, virtual: `172.16.0.${1 + (at % 2)}` }),
  real: at % 8 === 0 ? `fd00:2::${1 + (at % 3)}` : `192.168.0.${10 + (at % 3)}`,
  clientPort: 1024 + at,
  virtualPort: at % 3 === 0 ? 443 : 80,
  realPort: 8080,
  state: at % 5 === 0 ? 'UDP' : STATES[at % 3]!,
  seconds: 1 + ((at * 37) % 300),
  age: (at * 53) % 4000,
}));

/** An address as 16-bit groups, IPv4 before IPv6. */
const groupsOf = (text: string): readonly number[] => {
  const words = [...addressWords(text)];
  return [text.includes(':') ? 6 : 4, ...words.flatMap((word) => [word >>> 16, word & 0xffff])];
};
const rank = (text: string, port = 0): string =>
  [...groupsOf(text), port].map((group) => String(group).padStart(5, '0')).join(' ');
const shownEndpoint = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** The plain model: does the entry fit? */
function fits(entry: Entry, query: ConnectionQuery): boolean {
  const endpoint = (text: string | undefined, address: string, port: number): boolean =>
    text === undefined || text === address || text === shownEndpoint(address, port);
  const [network = '', length = '128'] = (query.client ?? '').split('/');
  // Lengths are multiples of 8 in IPv4 and of 16 in IPv6.
  const head = (address: string): string => {
    const count = address.includes(':') ? 1 + Number(length) / 16 : 1 + Number(length) / 8;
    const [family = 0, ...groups] = groupsOf(address);
    const parts = family === 4 ? address.split('.').map(Number) : groups;
    return [family, ...parts].slice(0, count).join();
  };
  return (
    (query.client === undefined || head(entry.client) === head(network)) &&
    endpoint(query.service, entry.virtual, entry.virtualPort) &&
    endpoint(query.server, entry.real, entry.realPort) &&
    (query.state === undefined || query.state === entry.state) &&
    entry.seconds >= (query.expiresAfter ?? 0) &&
    entry.seconds <= (query.expiresWithin ?? 1e6) &&
    entry.age! >= (query.older ?? 0) &&
    entry.age! < (query.younger ?? 1e6)
  );
}

describe('connections', () => {
  let stand: Stand;
  before(async () => {
    stand = new Stand(1024);
    for (const entry of ENTRIES) stand.addConnection(entry);
    stand.addConnection({ ...ENTRIES[0]!, client: '10.9.9.9', seconds: 0 });
    await stand.open();
  });
  after(() => stand.close());

  const ask = (query: ConnectionQuery): unknown =>
    JSON.parse(selectConnections(stand.director.tables.connections, NOW, query));

  test("filters, order and limit are a plain model's", () => {
    const queries = fc.record(
      {
        client: fc.constantFrom(
          ...['10.1.0.0/16', '10.0.0.0/8', '10.2.0.3', '0.0.0.0/0', '11.0.0.1'],
          ...['fd00:1::/32', 'fd00::/16', 'fd00:2::5', '::/0', 'fd00:2::5/128'],
        ),
        service: fc.constantFrom(
          ...['172.16.0.1', '172.16.0.2:80', '172.16.0.1:443', '1.1.1.1'],
          ...['fd00:100::1', '[fd00:100::1]:80', '[fd00:100::2]:80'],
        ),
        server: fc.constantFrom(
          ...['192.168.0.10', '192.168.0.11:8080', '192.168.0.11:1'],
          ...['fd00:2::1', '[fd00:2::2]:8080', '[fd00:2::2]:1'],
        ),
        state: fc.constantFrom(...STATES, 'UDP', 'CLOSE'),
        expiresAfter: fc.integer({ min: 0, max: 301 }),
        expiresWithin: fc.integer({ min: 0, max: 301 }),
        older: fc.integer({ min: 0, max: 4001 }),
        younger: fc.integer({ min: 0, max: 4001 }),
        sort: fc.constantFrom('client', 'service', 'server', 'state', 'expires', 'age'),
        reverse: fc.boolean(),
        limit: fc.integer({ min: 1, max: 300 }),
      },
      { requiredKeys: [] },
    );
    const property = fc.property(queries, (query) => {
      const wanted = ENTRIES.filter((entry) => fits(entry, query));
      const { connections, total } = ask(query as ConnectionQuery) as ConnectionList;
      assert.equal(total, wanted.length);
      assert.equal(connections.length, Math.min(wanted.length, query.limit ?? wanted.length));
      const ports = wanted.map(({ clientPort }) => clientPort);
      assert.ok(connections.every(({ clientPort }) => ports.includes(clientPort)));
      if (query.sort !== 'expires' && query.sort !== 'age') return;
      const isAge = query.sort === 'age';
      const seconds = wanted
        .map((entry) => (isAge ? entry.age! : entry.seconds))
        .sort((left, right) => left - right);
      if (query.reverse) seconds.reverse();
      assert.deepEqual(
        connections.map((one) => (isAge ? one.ageSeconds : one.expiresSeconds)),
        seconds.slice(0, query.limit),
      );
    });
    fc.assert(property, { numRuns: 300 });
  });

  test('sorted by each key, neighbours are in order', () => {
    const listed = (sort: ConnectionQuery['sort'] & string) =>
      (ask({ sort }) as ConnectionList).connections;
    const keys = {
      client: (one: ConnectionList['connections'][number]) => rank(one.client, one.clientPort),
      service: (one: ConnectionList['connections'][number]) => rank(one.virtual, one.virtualPort),
      server: (one: ConnectionList['connections'][number]) => rank(one.real, one.realPort),
    };
    for (const [sort, key] of Object.entries(keys)) {
      const values = listed(sort as 'client').map(key);
      assert.equal(values.length, ENTRIES.length);
      assert.deepEqual(values, values.toSorted(), sort);
    }
  });

  test("counts by group are a plain model's, the largest first", () => {
    const groups: Readonly<Record<string, (entry: Entry) => string>> = {
      client: (entry) => entry.client,
      service: (entry) =>
        `${entry.protocol!.toLowerCase()} ${shownEndpoint(entry.virtual, entry.virtualPort)}`,
      server: (entry) =>
        `${entry.protocol!.toLowerCase()} ${shownEndpoint(entry.real, entry.realPort)}`,
      state: (entry) => entry.state,
      age: ({ age = 0 }) =>
        (
          [
            [1, 'under 1 s'],
            [10, '1 to 9 s'],
            [60, '10 to 59 s'],
            [600, '1 to 9 min'],
            [3600, '10 to 59 min'],
            [86400, '1 to 23 h'],
          ] as const
        ).find(([end]) => age < end)![1],
    };
    for (const [by, keyOf] of Object.entries(groups)) {
      const wanted = new Map<string, number>();
      for (const entry of ENTRIES) wanted.set(keyOf(entry), (wanted.get(keyOf(entry)) ?? 0) + 1);
      const counts = ask({ count: by as 'client' }) as ConnectionCounts;
      assert.equal(counts.total, ENTRIES.length);
      assert.deepEqual(
        Object.fromEntries(counts.groups.map(({ key, connections }) => [key, connections])),
        Object.fromEntries(wanted),
      );
      const sizes = counts.groups.map(({ connections }) => connections);
      assert.deepEqual(
        sizes,
        sizes.toSorted((left, right) => right - left),
      );
    }
    assert.deepEqual(ask({ count: 'all', state: 'UDP' }), { total: 40, groups: [] });
  });

  test('the verb prints rows and counts', async () => {
    const list = await stand.run(['connections', '--client', '10.1.0.1', '--sort', 'expires']);
    assert.equal(list.status, 0, list.stderr);
    const [title, head, ...rows] = list.stdout.trimEnd().split('\n');
    assert.equal(title, 'IPVS connection entries');
    assert.match(head!, /^pro expire state +source +virtual +destination$/);
    assert.match(rows.at(-1)!, /^(\d+) of \1 connections$/);
    assert.ok(rows.slice(0, -1).every((row) => row.includes(' 10.1.0.1:')));
    const counted = await stand.run(['connections', '--count', '--by', 'state', '--limit', '1']);
    assert.equal(counted.stdout, ' 54 FIN_WAIT\n200 connections\n');
    const json = await stand.run(['connections', '--json', '--limit', '3']);
    assert.equal((JSON.parse(json.stdout) as ConnectionList).connections.length, 3);
  });

  test('the verb tells old from new, and JSON shows the age', async () => {
    const ages = async (...words: string[]): Promise<number[]> => {
      const { stdout } = await stand.run(['connections', '--json', '--sort', 'age', ...words]);
      return (JSON.parse(stdout) as ConnectionList).connections.map((one) => one.ageSeconds);
    };
    const all = ENTRIES.map((entry) => entry.age!).sort((left, right) => left - right);
    assert.deepEqual(await ages(), all);
    assert.deepEqual(
      await ages('--older', '3500', '--reverse'),
      all.filter((age) => age >= 3500).reverse(),
    );
    assert.deepEqual(
      await ages('--younger', '60', '--older', '1'),
      all.filter((age) => age >= 1 && age < 60),
    );
    const counted = await stand.run(['connections', '--count', '--by', 'age', '--younger', '60']);
    const young = all.filter((age) => age < 60).length;
    assert.match(counted.stdout, new RegExp(` 10 to 59 s\n[^]*${young} connections\n$`));
    const wrong = await stand.run(['connections', '--older', '-1']);
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /--older -1: 0 to 214748364 are allowed/);
  });

  test('a server of another family than its connection, and templates of IPv6', () => {
    const other = new Stand(1024);
    const { connections, realServers } = other.director.tables;
    const record = { family: 6, address: addressWords('fd00:2::9'), port: 80 };
    const slot = realServers.create(1, record);
    other.addConnection({ ...ENTRIES[1]!, real: '0.0.0.0' });
    connections.entries[(1 << 4) + CONNECTION.at.realServer] = slot;
    other.addConnection({ ...ENTRIES[8]!, virtual: '::', virtualPort: 0 });
    const second = (connections.usedEnd > 65 ? 1 : 2) << 4;
    connections.entries[second + CONNECTION.at.identity] = TEMPLATE_OF_MARK6;
    connections.entries[second + CONNECTION.at.virtual] = 66;
    connections.entries[second + CONNECTION.at.state] = CONNECTION_TEMPLATE;
    const { connections: rows } = JSON.parse(
      selectConnections(connections, NOW, {}, realServers),
    ) as ConnectionList;
    const [mixed, template] = rows;
    assert.deepEqual([mixed!.family, mixed!.real, mixed!.client], [4, 'fd00:2::9', '10.1.0.1']);
    assert.deepEqual(
      [template!.protocol, template!.family, template!.virtual, template!.state],
      ['IP', 6, '0:42::', 'NONE'],
    );
  });

  test('a wrong value is refused by the daemon with what is allowed', async () => {
    const cases: readonly (readonly [string, string, RegExp])[] = [
      ['--client', '10.0.0.0/33', /client "10.0.0.0\/33": an IPv4 or IPv6 address, or ADDRESS\//],
      ['--client', 'fe80::1%lo', /client "fe80::1%lo": an IPv4 or IPv6 address/],
      ['--service', '10.0.0.1:99999', /service "10.0.0.1:99999": an address, ADDRESS:PORT or/],
      ['--server', '[10.0.0.1]:80', /server "\[10.0.0.1\]:80": an address/],
      ['--state', 'ASLEEP', /state "ASLEEP": allowed are NONE, ESTABLISHED/],
    ];
    for (const [option, value, said] of cases) {
      const { status, stderr } = await stand.run(['connections', option, value]);
      assert.equal(status, 1);
      assert.match(stderr, said);
    }
  });
});

/** Takes an answer as a socket does: piece by piece, keeping none but the first. */
async function read(
  dump: ConnectionDump,
  query: ConnectionQuery,
): Promise<{ first: string; length: number }> {
  const answer = await dump.connections(NOW, query);
  if (answer instanceof Uint8Array) {
    return { first: Buffer.from(answer).toString(), length: answer.length };
  }
  let first = '';
  let length = 0;
  for await (const piece of answer) {
    if (first === '') first = Buffer.from(piece).toString();
    length += piece.length;
  }
  return { first, length };
}

describe('a million connections', () => {
  const COUNT = 1_000_000;
  /** Of what this thread would be away for, did it walk the table itself. */
  const STALL_PART_MAX = 1 / 4;
  let stand: Stand;

  before(() => {
    stand = new Stand(COUNT);
    const { connections } = stand.director.tables;
    const { entries } = connections;
    stand.addConnection(ENTRIES[1]!);
    while (connections.usedEnd <= COUNT) connections.allocate(0);
    for (let entry = 2; entry <= COUNT; entry++) {
      entries.copyWithin(entry << 4, 1 << 4, 2 << 4);
      entries[(entry << 4) + CONNECTION.at.client] = 0x0a000000 + (entry % 1000);
      entries[(entry << 4) + CONNECTION.at.timerNext] = 0;
    }
  });
  after(() => stand.close());

  test('listing, sorting and counting them keep the main thread free', async () => {
    await read(stand.dump, { limit: 1 });
    const { connections, realServers } = stand.director.tables;
    const walkMs = cpuMsOf(() =>
      selectConnections(connections, NOW, { count: 'client', limit: 5 }, realServers),
    );
    const asked: readonly ConnectionQuery[] = [
      { count: 'client', limit: 5 },
      { sort: 'client', limit: 10 },
      {},
    ];
    for (const query of asked) {
      let answer = '';
      let length = 0;
      const stallMs = await longestStall(async () => {
        const taken = await read(stand.dump, query);
        answer = taken.first;
        length = taken.length;
      });
      const said = `${JSON.stringify(query)}: ${stallMs.toFixed(1)} of ${walkMs.toFixed(1)} ms`;
      assert.ok(stallMs < Math.max(STALL_PART_MAX * walkMs, SLICES_MS), said);
      assert.match(answer, new RegExp(`^{"total":${COUNT}\\b`));
      if (query.limit === undefined) assert.ok(length > COUNT * 100, 'every one of them is there');
    }
  });
});
