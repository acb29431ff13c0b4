/** That the labs see it when something is wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Heard, judge } from '#xvs/lab/dr';
import { CLIENT_ADDRESS, DIRECTOR_MAC, ROUTER_MAC, serverMac, VIP } from '#xvs/lab/drTopology';
import { isCommonRound, isEachOwnRound } from '#xvs/lab/fwmark';

const TTL = 63;

/** An Ethernet frame with an IPv4 header and some payload. */
function frame(to: string, from: string, source: string, destination: string, ttl: number) {
  const bytes = new Uint8Array(60).fill(7);
  const mac = (text: string) => text.split(':').map((byte) => Number.parseInt(byte, 16));
  bytes.set([...mac(to), ...mac(from), 8, 0, 0x45]);
  bytes[22] = ttl;
  bytes.set(source.split('.').map(Number), 26);
  bytes.set(destination.split('.').map(Number), 30);
  return { seconds: 0, bytes };
}
const came = () => frame(DIRECTOR_MAC, ROUTER_MAC, CLIENT_ADDRESS, VIP, TTL);
const left = () => frame(serverMac(1), DIRECTOR_MAC, CLIENT_ADDRESS, VIP, TTL - 1);
const reply = (to: string) => frame(to, serverMac(1), VIP, CLIENT_ADDRESS, 64);

function heard(change: Partial<Heard> = {}): Heard {
  const web1 = [left(), reply(ROUTER_MAC)];
  return { director: [came(), left()], web1, web2: [], ...change };
}

test('direct routing as it should be has no faults', () => {
  assert.deepEqual(judge(heard()), { forwarded: 1, replies: 1, faults: [] });
});

test('each fault of direct routing is named', () => {
  const changed = left();
  changed.bytes[40]! ^= 1;
  const sameTtl = frame(serverMac(1), DIRECTOR_MAC, CLIENT_ADDRESS, VIP, TTL);
  const elsewhere = frame(ROUTER_MAC, DIRECTOR_MAC, CLIENT_ADDRESS, VIP, TTL - 1);
  const cases: readonly (readonly [RegExp, Partial<Heard>])[] = [
    [/no request came/, { director: [], web1: [reply(ROUTER_MAC)] }],
    [/2 came, 1 left/, { director: [came(), came(), left()] }],
    [/1 replies crossed/, { director: [came(), left(), reply(DIRECTOR_MAC)] }],
    [/more than MACs/, { director: [came(), changed] }],
    [/TTL 63 became 63/, { director: [came(), sameTtl] }],
    [/sent to 02:00:00:00:02:64/, { director: [came(), elsewhere] }],
    [/1 frames left the director, 0 others arrived/, { web1: [reply(ROUTER_MAC)] }],
    [/no real server answered/, { web1: [left()] }],
    [/no real server answered/, { web1: [left(), reply(DIRECTOR_MAC)] }],
  ];
  for (const [fault, change] of cases) {
    assert.match(judge(heard(change)).faults.join('\n'), fault);
  }
});

test('a round of each service, and a round over both', () => {
  const servers = ['one', 'two'];
  const own = [
    ['one', 'one'],
    ['two', 'two'],
    ['one', 'one'],
  ] as const;
  const common = [
    ['one', 'two'],
    ['one', 'two'],
    ['one', 'two'],
  ] as const;
  assert.equal(isEachOwnRound(own, servers), true);
  assert.equal(isEachOwnRound(common, servers), false);
  assert.equal(
    isEachOwnRound(
      [
        ['one', 'one'],
        ['one', 'one'],
      ],
      servers,
    ),
    false,
  );
  assert.equal(isEachOwnRound([['', '']], servers), false);
  assert.equal(isCommonRound(common, servers), true);
  assert.equal(isCommonRound(own, servers), false);
  assert.equal(
    isCommonRound(
      [
        ['one', 'two'],
        ['two', 'one'],
      ],
      servers,
    ),
    false,
  );
  assert.equal(isCommonRound([['one', '']], servers), false);
});
