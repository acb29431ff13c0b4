/** Values and sequences that were seen from the kernel's own schedulers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { foldAddress, hash32, sipHash13 } from '#xvs/scheduler/hash';
import { MAGLEV_SLOTS, maglevSlot, populateMaglev } from '#xvs/scheduler/mh';
import type { ServerShare } from '#xvs/scheduler/tables';
import { modelSipHash } from '../../support/schedulerModel';
import { type Call, Scheduling } from '../../support/scheduling';

const CLIENTS = ['192.168.1.1', '192.168.1.2', '10.0.0.1', '172.16.5.9'];
const KEY_1 = 2654435761;
const KEY_2 = 2654446892;

/** A, B, C with these weights, added in this order. */
function farm(scheduler: string, weights: readonly number[], flags?: readonly [boolean, boolean]) {
  const scheduling = new Scheduling();
  scheduling.start(scheduler, flags);
  weights.forEach((weight, at) => {
    scheduling.add(at + 1, weight);
  });
  return scheduling;
}
function letters(scheduling: Scheduling, calls: readonly Call[]): string {
  const named = (number: number): string => (number === 0 ? '-' : String.fromCharCode(64 + number));
  return calls.map((call) => named(scheduling.choose(call))).join('');
}

test('hash32 of addresses, with and without a port', () => {
  const hash = (address: string, port = 0): number =>
    hash32((foldAddress(addressWords(address)) + port) | 0, 8);
  assert.deepEqual(
    ['192.168.1.1', '192.168.1.2', '10.0.0.1', '2001:db8::1'].map((address) => hash(address)),
    [136, 234, 39, 63],
  );
  assert.deepEqual(
    ['192.168.1.1', '192.168.1.2', '10.0.0.1', '2001:db8::1'].map((a) => hash(a, 12345)),
    [231, 73, 134, 157],
  );
});

test('SipHash-1-3 of one word, low half', () => {
  assert.equal(sipHash13(KEY_1, parseIpv4('192.168.1.1')) >>> 0, 0xd3f1b4d3);
  let word = 1;
  for (let i = 0; i < 2000; i++) {
    word = Math.imul(word, 0x5bd1e995) + i * 0x01000193;
    for (const key of [KEY_1, KEY_2, 0, 0xffffffff]) {
      const expected = Number(modelSipHash(BigInt(key), BigInt(word >>> 0)));
      assert.equal(sipHash13(key, word | 0) >>> 0, expected, `key ${key}, word ${word >>> 0}`);
    }
  }
});

test('mh: slots of clients, with and without a port', () => {
  const slots = (port: number): number[] =>
    CLIENTS.slice(0, 3).map((client) => maglevSlot((parseIpv4(client) + port) | 0));
  assert.deepEqual(slots(0), [2456, 811, 3711]);
  assert.deepEqual(slots(12345), [1278, 3990, 490]);
});

function share(address: string, weight: number): ServerShare {
  return { address: addressWords(address), port: 80, weight, lastWeight: weight };
}

test('mh: the table of three servers with weights 2, 1, 1', () => {
  const list = [share('192.168.100.4', 2), share('192.168.100.3', 1), share('192.168.100.2', 1)];
  const names = [...populateMaglev(list)].map((place) => '-CBA'[place]!);
  const count = (name: string): number => names.filter((other) => other === name).length;
  assert.deepEqual([count('C'), count('B'), count('A')], [2047, 1023, 1023]);
  assert.equal(names.slice(0, 16).join(' '), 'B B C C B C B C C A B A C A B A');
  const chosen = CLIENTS.map((client) => names[maglevSlot(parseIpv4(client))]);
  assert.equal(chosen.join(''), 'AACB');
});

test('mh: no servers, servers that never had a weight, the most there can be', () => {
  assert.ok(populateMaglev([]).every((place) => place === 0));
  assert.ok(populateMaglev([share('10.0.0.1', 0)]).every((place) => place === 0));
  const many = Array.from({ length: MAGLEV_SLOTS }, (_, at) =>
    share(`10.1.${at >> 8}.${at & 255}`, 1),
  );
  assert.equal(new Set(populateMaglev(many)).size, MAGLEV_SLOTS, 'each has one slot');
});

test('mh: a removed server of ten moves few other clients', () => {
  const list = Array.from({ length: 10 }, (_, at) => share(`10.0.2.${at + 1}`, 1));
  const before = populateMaglev(list);
  const after = populateMaglev(list.slice(1)).map((place) => place + 1);
  let moved = 0;
  before.forEach((place, slot) => {
    if (place !== 1 && place !== after[slot]) moved++;
  });
  assert.ok(moved < MAGLEV_SLOTS * 0.05, `${moved} of ${MAGLEV_SLOTS} slots moved needlessly`);
});

test('sh and dh of three servers with weights 1, 1, 2', () => {
  const sources = farm('sh', [1, 1, 2]);
  assert.equal(
    letters(
      sources,
      CLIENTS.map((client) => ({ client })),
    ),
    'CBAA',
  );
  const to = CLIENTS.map((destination) => ({ client: '10.9.9.9', destination }));
  const destinations = farm('dh', [1, 1, 2]);
  assert.equal(letters(destinations, to), 'BCCB');
  destinations.change(3, 0);
  assert.equal(letters(destinations, to), 'B--B', 'no second choice, and no table anew');
});

test('wrr: rounds of servers that were added one by one', () => {
  const rounds: readonly (readonly [readonly number[], string])[] = [
    [[4, 3, 2], 'CBAABACBACBAABACBA'],
    [[100, 50, 25], 'CBAAABACBAAABACB'],
    [[2, 4], 'BABBABBABB'],
    [[3, 2, 1], 'CBAABACBAABA'],
    [[0, 0, 0], '---'],
  ];
  for (const [weights, expected] of rounds) {
    const scheduling = farm('wrr', weights);
    assert.equal(scheduling.sequence(expected.length, false), expected, weights.join(' '));
  }
});

test('rr, wlc, sed, nq, ovf with connections that last', () => {
  const sequences: readonly (readonly [string, string])[] = [
    ['rr', 'CBACBACBA'],
    ['wlc', 'CBAABCABACBAABCABA'],
    ['sed', 'ABCABACBAABCABACBA'],
    ['nq', 'CBAABACBAABCABACBA'],
    ['ovf', 'AAAAABBBBCCC---'],
    ['fo', 'AAAAAAA'],
  ];
  for (const [scheduler, expected] of sequences) {
    const scheduling = farm(scheduler, [4, 3, 2]);
    assert.equal(scheduling.sequence(expected.length, true), expected, scheduler);
  }
});

test('clients of a port-less protocol are hashed without a port', () => {
  for (const scheduler of ['sh', 'mh']) {
    const scheduling = farm(scheduler, [1, 1, 1, 1, 1], [false, true]);
    const chosen = (protocol: number): Set<number> => {
      const call = { client: '10.0.1.100', protocol };
      return new Set(
        Array.from({ length: 50 }, (_, port) => scheduling.choose({ ...call, port: 1000 + port })),
      );
    };
    assert.equal(chosen(51).size, 1, scheduler);
    assert.ok(chosen(17).size > 1, scheduler);
    assert.ok(chosen(132).size > 1, scheduler);
  }
});

test('mh: with C quiesced and mh-fallback its clients go elsewhere, the others stay', () => {
  const scheduling = new Scheduling();
  scheduling.start('mh', [true, false]);
  const key = (last: number) => ({ family: 4, address: `192.168.100.${last}`, port: 80 }) as const;
  const add = (last: number, weight: number, command: 'add-server' | 'edit-server'): void =>
    scheduling.director.execute({
      command,
      service: scheduling.key,
      server: key(last),
      settings: {
        method: 'nat',
        weight,
        upperThreshold: 0,
        lowerThreshold: 0,
        tunnel: { type: 'ipip', port: 0, checksum: 'nocsum' },
      },
    });
  add(2, 1, 'add-server');
  add(3, 1, 'add-server');
  add(4, 2, 'add-server');
  add(4, 0, 'edit-server');
  const { servers } = scheduling.director.find(scheduling.key)!;
  const chosen = CLIENTS.map((client) => {
    const slot = scheduling.chooseSlot({ client });
    return servers.find((server) => server.slot === slot)?.key.address.at(-1);
  });
  assert.deepEqual(chosen, ['2', '2', '3', '3']);
});
