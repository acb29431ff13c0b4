/** That the lab with tunnels sees it when something is wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Heard, judge } from '#xvs/lab/tun';
import {
  CLIENT_ADDRESS,
  DIRECTOR_ADDRESS,
  DIRECTOR_MAC,
  REAL_SERVERS,
  ROUTER_DIRECTOR_MAC,
  ROUTER_SERVER_MAC,
  serverMac,
  VIP,
} from '#xvs/lab/tunTopology';
import { ethernet } from '../../support/packet';

const TTL = 63;
const AT_DIRECTOR = { destination: DIRECTOR_MAC, source: ROUTER_DIRECTOR_MAC };
const FROM_DIRECTOR = { destination: ROUTER_DIRECTOR_MAC, source: DIRECTOR_MAC };

function request(ttl: number, source = CLIENT_ADDRESS, flags = 'S'): Uint8Array {
  return ethernet(AT_DIRECTOR).ipv4({ source, destination: VIP, ttl }).tcp({ flags }).build();
}

interface Outer {
  readonly ttl?: number;
  readonly source?: string;
  readonly destination?: string;
  readonly macs?: typeof FROM_DIRECTOR;
}

function tunnelled(inner: Uint8Array, outer: Outer = {}) {
  const { ttl = TTL - 1, source = DIRECTOR_ADDRESS, destination = REAL_SERVERS[0] } = outer;
  const bytes = ethernet(outer.macs ?? FROM_DIRECTOR)
    .ipv4({ protocol: 4, ttl, source, destination })
    .payload(inner.subarray(14))
    .build();
  return { seconds: 0, bytes };
}

const came = () => ({ seconds: 0, bytes: request(TTL) });
const inner = () => request(TTL - 1);
const left = (outer: Outer = {}) => tunnelled(inner(), outer);
const arrived = () =>
  left({ ttl: TTL - 2, macs: { destination: serverMac(1), source: ROUTER_SERVER_MAC } });
const reply = (to: string) => ({
  seconds: 0,
  bytes: ethernet({ destination: to, source: serverMac(1) })
    .ipv4({ source: VIP, destination: CLIENT_ADDRESS })
    .tcp({ flags: 'SA' })
    .build(),
});

function heard(change: Partial<Heard> = {}): Heard {
  const web1 = [arrived(), reply(ROUTER_SERVER_MAC)];
  return { director: [came(), left()], web1, web2: [], ...change };
}

test('a tunnel as it should be has no faults', () => {
  assert.deepEqual(judge(heard()), { tunnelled: 1, replies: 1, faults: [] });
});

test('each fault of a tunnel is named', () => {
  const changed = inner();
  changed[45]! ^= 1;
  const director = (...frames: Heard['director']) => ({ director: frames });
  const cases: readonly (readonly [RegExp, Partial<Heard>])[] = [
    [/no request came/, { director: [], web1: [reply(ROUTER_SERVER_MAC)] }],
    [/2 came, 1 left/, director(came(), came(), left())],
    [/1 replies crossed/, director(came(), left(), reply(DIRECTOR_MAC))],
    [/more than TTL and checksum/, director(came(), tunnelled(changed))],
    [/TTL 63 became 63 inside 63/, director(came(), tunnelled(request(TTL), { ttl: TTL }))],
    [/TTL 63 became 62 inside 64/, director(came(), left({ ttl: 64 }))],
    [
      /goes from 192\.168\.0\.50 to 10\.0\.0\.30/,
      director(came(), left({ destination: '10.0.0.30' })),
    ],
    [/goes from 192\.168\.0\.200 to/, director(came(), left({ source: VIP }))],
    [/comes from 192\.168\.0\.50/, director(came(), tunnelled(request(TTL - 1, DIRECTOR_ADDRESS)))],
    [/a tunnel leads back/, director(came(), left({ macs: AT_DIRECTOR }))],
    [/1 packets left the director, 0 others arrived/, { web1: [reply(ROUTER_SERVER_MAC)] }],
    [/no real server answered/, { web1: [arrived()] }],
    [/no real server answered/, { web1: [arrived(), reply(DIRECTOR_MAC)] }],
  ];
  for (const [fault, change] of cases) {
    assert.match(judge(heard(change)).faults.join('\n'), fault);
  }
});
