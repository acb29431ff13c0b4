import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import {
  isMirrored,
  mirrorRoutes,
  mirrorRoutes6,
  prefixText,
  ruleWarnings,
} from '#xvs/control/kernelRoutes';
import {
  type AddressMessage,
  AF_INET,
  AF_INET6,
  addressText,
  dumpRequest,
  hostAddress,
  hostBytes,
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_SECONDARY,
  IFA_F_TENTATIVE,
  IFF_RUNNING,
  IFF_UP,
  ipv4Word,
  macHigh,
  macLow,
  type NetlinkMessage,
  NTF_EXT_MANAGED,
  NUD_FAILED,
  NUD_PERMANENT,
  NUD_REACHABLE,
  RTN_BLACKHOLE,
  TABLE_DEFAULT,
  TABLE_LOCAL,
  TABLE_MAIN,
  useNeighbourRequest,
} from '#xvs/control/netlink';
import { parseMessages } from '#xvs/control/netlinkParse';
import { ofKind } from '#xvs/control/netlinkSocket';
import { OwnAddresses } from '#xvs/control/ownAddresses';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import type { Address6 } from '#xvs/table/address6';
import {
  ROUTE_LOCAL,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  type Route,
  type Route6,
} from '#xvs/table/route';

/** From dist/test/unit/control to the project's root. */
const RECORDED_FILE = join(__dirname, '../../../../test/goldens/netlink/recorded.json');
const RECORDED = JSON.parse(readFileSync(RECORDED_FILE, 'utf8')) as Record<string, string>;

function bytesOf(name: string): Uint8Array {
  const text = RECORDED[name];
  assert.ok(text !== undefined, `recorded.json has no "${name}"`);
  return new Uint8Array(Buffer.from(text, 'base64'));
}

function recorded(name: string): NetlinkMessage[] {
  return parseMessages(bytesOf(name));
}

function dotted(bytes: Uint8Array): string {
  return bytes.join('.');
}

test('links: name, flags, MTU, MAC and kind', () => {
  const messages = recorded('link');
  assert.equal(messages.at(-1)!.kind, 'done');
  const links = ofKind(messages, 'link');
  const lo = links.find(({ name }) => name === 'lo')!;
  assert.equal(lo.index, 1);
  assert.equal(lo.mtu, 65536);
  const veth = links.find(({ name }) => name === 'xvsr0')!;
  assert.equal(veth.family, 0);
  assert.equal(veth.mtu, 1500);
  assert.equal(veth.linkKind, 'veth');
  assert.equal(veth.master, 0);
  assert.equal(veth.deleted, false);
  assert.equal(veth.flags & (IFF_UP | IFF_RUNNING), IFF_UP | IFF_RUNNING);
  assert.equal(macHigh(veth.mac), 0x02000000);
  assert.equal(macLow(veth.mac), 1);
});

test('addresses of both families', () => {
  const ipv4 = ofKind(recorded('address'), 'address');
  assert.deepEqual(
    ipv4.map(({ address, prefixLength }) => `${dotted(address)}/${prefixLength}`),
    ['127.0.0.1/8', '10.77.0.1/24'],
  );
  const ipv6 = ofKind(recorded('address6'), 'address');
  assert.ok(ipv6.every(({ family, address }) => family === AF_INET6 && address.length === 16));
  const unique = Buffer.from('fd000000000000000000000000000001', 'hex');
  assert.ok(ipv6.some(({ address }) => unique.equals(address)));
});

test('routes: gateway, source, MTU, metric, blackhole, multipath, local table', () => {
  const routes = ofKind(recorded('route'), 'route');
  const byPrefix = (prefix: string, table: number) =>
    routes.find((route) => prefixText(route) === prefix && route.table === table)!;
  const via = byPrefix('10.78.0.0/16', TABLE_MAIN);
  assert.equal(dotted(via.gateway), '10.77.0.2');
  assert.equal(dotted(via.preferredSource), '10.77.0.1');
  assert.equal(via.mtu, 1400);
  assert.equal(via.hops, 1);
  const fallback = byPrefix('0.0.0.0/0', TABLE_MAIN);
  assert.equal(fallback.destination.length, 0);
  assert.equal(fallback.priority, 10);
  assert.equal(byPrefix('10.80.0.0/16', TABLE_MAIN).type, RTN_BLACKHOLE);
  const multipath = byPrefix('10.79.0.0/24', TABLE_MAIN);
  assert.equal(multipath.hops, 2);
  assert.equal(dotted(multipath.gateway), '10.77.0.2');
  assert.equal(multipath.index, via.index);
  assert.ok(byPrefix('10.77.0.1/32', TABLE_LOCAL) !== undefined);
});

test('the mirror of these routes, and what it says about them', () => {
  const routes = ofKind(recorded('route'), 'route');
  const served = routes.find((route) => prefixText(route) === '10.78.0.0/16')!.index;
  const { tables, warnings } = mirrorRoutes(routes, {
    slotOf: (index) => (index === served ? 4 : -1),
  });
  const [none, main, local] = tables;
  assert.equal(none!.length, 0);
  const pick = (table: readonly Route[], destination: number) =>
    table.find((route) => route.destination === destination)!;
  assert.deepEqual(pick(main!, 0x0a4e0000), {
    destination: 0x0a4e0000,
    prefixLength: 16,
    kind: ROUTE_UNICAST,
    interfaceSlot: 4,
    gateway: 0x0a4d0002,
    preferredSource: 0x0a4d0001,
    mtu: 1400,
  });
  assert.equal(pick(main!, 0x0a500000).kind, ROUTE_UNREACHABLE);
  assert.equal(pick(local!, 0x0a4d0001).kind, ROUTE_LOCAL);
  assert.equal(pick(local!, 0x0a4d00ff).kind, ROUTE_UNREACHABLE, 'broadcast');
  assert.deepEqual(warnings, [
    'route 10.79.0.0/24: of a multipath route only the first usable hop is used',
  ]);
});

test('the mirror of IPv6 routes: link-local, multicast, own and anycast addresses, sources', () => {
  const routes = ofKind(recorded('route6'), 'route');
  const by = (prefix: string) => routes.find((route) => prefixText(route) === prefix)!;
  const first = by('fd00:80::/32').index;
  const own = new OwnAddresses(ofKind(recorded('ownAddress6'), 'address'));
  const slotOf = (index: number) => (index === first ? 4 : -1);
  const { tables, warnings } = mirrorRoutes6(routes, { slotOf, own });
  const [main, local] = tables;
  const pick = (table: readonly Route6[], destination: string, prefixLength: number) =>
    table.find(
      (route) =>
        addressText(route.destination) === destination && route.prefixLength === prefixLength,
    )!;
  assert.deepEqual(pick(main!, 'fd00:80::', 32), {
    destination: [0xfd000080 | 0, 0, 0, 0],
    prefixLength: 32,
    kind: ROUTE_UNICAST,
    interfaceSlot: 4,
    gateway: [0xfd000077 | 0, 0, 0, 2],
    preferredSource: [0xfd000077 | 0, 0, 0, 1],
    mtu: 1400,
  });
  const fallback = pick(main!, '::', 0);
  assert.equal(addressText(fallback.gateway), 'fe80::ff:fe00:2');
  assert.equal(addressText(fallback.preferredSource), '::', "the link's primary address");
  assert.equal(pick(main!, 'fd00:81::', 48).kind, ROUTE_UNREACHABLE);
  assert.equal(addressText(pick(main!, 'fd00:82::', 64).gateway), 'fd00:77::2');
  assert.equal(pick(main!, 'fd00:83::', 64), undefined, 'for some sources only');
  assert.equal(pick(main!, 'fd00:84::', 64), undefined, 'table 100');
  assert.equal(pick(local!, 'fd00:77::1', 128).kind, ROUTE_LOCAL);
  assert.equal(pick(local!, 'fd00:77::', 128).kind, ROUTE_LOCAL, 'anycast');
  assert.equal(pick(local!, 'ff00::', 8).kind, ROUTE_UNREACHABLE, 'multicast');
  const near = pick(main!, 'fd00:77::', 64).preferredSource;
  assert.equal(addressText(near), 'fd00:77::1', 'not fd00:79::1, the primary one');
  assert.match(addressText(pick(main!, 'fe80::', 64).preferredSource), /^fe80::/);
  assert.deepEqual(warnings, [
    'route fd00:83::/64: it is for some source addresses only and is not mirrored',
    'route fd00:82::/64: of a multipath route only the first usable hop is used',
  ]);
});

test('link-local addresses are those of a served interface, in whatever order routes come', () => {
  const routes = ofKind(recorded('route6'), 'route').filter(
    (route) => prefixText(route) === 'fe80::/64',
  );
  assert.equal(routes.length, 2);
  for (const { index } of routes) {
    const slotOf = (other: number) => (other === index ? 1 : -1);
    for (const order of [routes, [...routes].reverse()]) {
      const [main] = mirrorRoutes6(order, { slotOf }).tables;
      assert.deepEqual(
        main!.map(({ interfaceSlot }) => interfaceSlot),
        [1],
      );
    }
  }
});

test('own addresses: the primary one, and the one that a gateway is near to', () => {
  const index = 7;
  const six = (text: string): Address6 => {
    const [word0, word1, word2, word3] = addressWords(text);
    return [word0!, word1!, word2!, word3!];
  };
  const own = (text: string, prefixLength: number, flags = 0, scope = 0): AddressMessage => {
    const four = !text.includes(':');
    const address = hostBytes(four ? parseIpv4(text) : six(text));
    const family = four ? AF_INET : AF_INET6;
    return { kind: 'address', deleted: false, family, index, prefixLength, flags, scope, address };
  };
  const two4 = new OwnAddresses([own('10.1.0.1', 24), own('10.1.0.2', 24, 1), own('10.2.0.1', 16)]);
  assert.equal(two4.primary4(index), 0x0a010001);
  assert.equal(two4.source4(index, 0x0a0200fe), 0x0a020001);
  assert.equal(two4.source4(index, 0x0a0100fe), 0, 'the primary one');
  assert.equal(two4.source4(index, 0x0b000001), 0);
  assert.deepEqual(two4.all4, [0x0a010001, 0x0a010002, 0x0a020001]);
  const worse = [
    own('fe80::9', 64, 0, 253), // link-local
    own('fd00::8', 64, IFA_F_TENTATIVE),
    own('fd00::7', 64, IFA_F_DADFAILED),
    own('fd00::6', 64, IFA_F_DEPRECATED),
    own('fd00::5', 64, IFA_F_SECONDARY), // temporary
    own('fd00::4', 128), // a VIP
  ];
  const best = [own('fd00::3', 64), own('fd00::2', 64)];
  assert.equal(addressText(new OwnAddresses([...worse, ...best]).primary6(index)), 'fd00::3');
  const falling = [5, 4, 3, 0].map((count) => new OwnAddresses(worse.slice(0, count + 1)));
  assert.deepEqual(
    falling.map((one) => addressText(one.primary6(index))),
    ['fd00::4', 'fd00::5', 'fd00::6', 'fe80::9'],
  );
  assert.equal(new OwnAddresses(worse).all6.length, 6, 'tentative ones are the host’s too');
  const two6 = new OwnAddresses([own('fd00:1::1', 64), own('fd00:2::1', 64), worse[0]!]);
  assert.equal(addressText(two6.source6(index, six('fd00:2::fe'), false)), 'fd00:2::1');
  assert.equal(addressText(two6.source6(index, six('fe80::fe'), false)), '::', 'a gateway');
  assert.equal(addressText(two6.source6(index, six('fe80::'), true)), 'fe80::9', 'a neighbour');
  assert.equal(addressText(two6.primary6(8)), '::');
});

test('of two routes with one prefix the lowest priority is used, then the first', () => {
  const base = ofKind(recorded('route'), 'route').find(
    (route) => prefixText(route) === '10.78.0.0/16',
  )!;
  const gateway = (last: number) => new Uint8Array([10, 77, 0, last]);
  const { tables } = mirrorRoutes(
    [
      { ...base, priority: 20, gateway: gateway(20) },
      { ...base, priority: 5, gateway: gateway(5) },
      { ...base, priority: 5, gateway: gateway(6) },
      { ...base, priority: 1, gateway: gateway(1), flags: 1 }, // RTNH_F_DEAD
    ],
    { slotOf: () => 0 },
  );
  assert.deepEqual(
    tables[1]!.map((route) => route.gateway & 255),
    [5],
  );
});

test('routes of other tables, cached ones and other families are left alone', () => {
  const base = ofKind(recorded('route'), 'route')[0]!;
  assert.equal(isMirrored({ ...base, table: TABLE_MAIN, flags: 0 }), true);
  assert.equal(isMirrored({ ...base, table: 100, flags: 0 }), false);
  assert.equal(isMirrored({ ...base, table: TABLE_MAIN, flags: 0x200 }), false);
  assert.equal(isMirrored({ ...base, table: TABLE_MAIN, flags: 0, family: AF_INET6 }), true);
  assert.equal(isMirrored({ ...base, table: TABLE_MAIN, flags: 0, family: 28 }), false, 'MPLS');
  const base6 = ofKind(recorded('route6'), 'route')[0]!;
  assert.equal(isMirrored({ ...base6, table: TABLE_DEFAULT, flags: 0 }), false, 'no rule asks it');
});

test('policy rules beyond the three defaults are named', () => {
  const rules = ofKind(recorded('rule'), 'rule');
  assert.equal(rules.length, 4);
  assert.deepEqual(ruleWarnings(rules), [
    'policy rule with priority 1000 (table 100) is not mirrored: xvs follows the tables local, ' +
      'main and default only',
  ]);
  const defaults = rules.filter(({ priority }) => priority !== 1000);
  assert.deepEqual(ruleWarnings(defaults), []);
  assert.match(ruleWarnings(defaults.slice(1)).join(), /default policy rule for table 255/);
});

test('IPv6 policy rules beyond the defaults are named, none are missed without IPv6', () => {
  const rules = ofKind(recorded('rule6'), 'rule');
  const rules4 = ofKind(recorded('rule'), 'rule').filter(({ priority }) => priority !== 1000);
  assert.deepEqual(ruleWarnings([...rules4, ...rules]), [
    'IPv6 policy rule with priority 1000 (table 100) is not mirrored: xvs follows the tables ' +
      'local and main only',
  ]);
  const defaults = rules.filter(({ priority }) => priority !== 1000);
  assert.deepEqual(ruleWarnings([...rules4, ...defaults]), []);
  assert.match(ruleWarnings([...rules4, defaults[0]!]).join(), /default IPv6 .* table 254/);
  assert.deepEqual(ruleWarnings(rules4), []);
});

test('IPv6 neighbours have 16 bytes of address', () => {
  const dump = ofKind(recorded('neighbour6'), 'neighbour').filter(({ type }) => type === 1);
  const states = new Map(dump.map((one) => [addressText(hostAddress(one.address)!), one.state]));
  assert.equal(states.get('fd00:77::2'), NUD_REACHABLE);
  assert.equal(states.get('fd00:77::9'), NUD_PERMANENT);
});

test('addresses as bytes, words and text', () => {
  const long = hostAddress(Buffer.from('fd000077000000000000000000000002', 'hex'))!;
  assert.deepEqual(long, [0xfd000077 | 0, 0, 0, 2]);
  assert.equal(addressText(long), 'fd00:77::2');
  assert.equal(Buffer.from(hostBytes(long)).toString('hex'), 'fd000077000000000000000000000002');
  assert.equal(addressText(0xc0a80064 | 0), '192.168.0.100');
  assert.equal(hostAddress(new Uint8Array(6)), null);
});

test('neighbours: states, managed flag, permanent, failed', () => {
  const dump = ofKind(recorded('neighbour'), 'neighbour').filter(({ type }) => type === 1);
  const states = new Map(dump.map(({ address, state }) => [dotted(address), state]));
  assert.equal(states.get('10.77.0.2'), NUD_REACHABLE);
  assert.equal(states.get('10.77.0.9'), NUD_PERMANENT);
  const managed = ofKind(recorded('managed'), 'neighbour');
  assert.equal(managed.length, 1);
  assert.equal(managed[0]!.flagsExtended, NTF_EXT_MANAGED);
  assert.equal(dotted(managed[0]!.address), '10.77.0.2');
  assert.equal(macLow(managed[0]!.mac), 2);
  assert.equal(ofKind(recorded('unmanaged'), 'neighbour')[0]!.flagsExtended, 0);
  const failed = ofKind(recorded('failed'), 'neighbour')[0]!;
  assert.equal(failed.state, NUD_FAILED);
  assert.equal(dotted(failed.address), '10.77.0.55');
  assert.equal(failed.mac.length, 0);
});

test('an acknowledgement is errno 0, a refusal carries its errno', () => {
  assert.deepEqual(recorded('ack'), [{ kind: 'error', errno: 0, sequence: 7, interrupted: false }]);
  const [refusal] = recorded('error');
  assert.equal(refusal!.kind, 'error');
  assert.equal(refusal!.kind === 'error' && refusal!.errno, 2);
});

test('requests have the bytes of the kernel headers', () => {
  const dump = Buffer.from(dumpRequest('neighbours', AF_INET, 9)).toString('hex');
  assert.equal(dump, '1c0000001e0001030900000000000000020000000000000000000000');
  const use = { index: 5, address: new Uint8Array([10, 77, 0, 2]), flags: 0, protocol: 0 };
  const plain = Buffer.from(useNeighbourRequest({ ...use, managed: false }, 1)).toString('hex');
  const header = '240000001c00050401000000000000000200000005000000000001000800';
  assert.equal(plain, `${header}01000a4d0002`);
  const marked = useNeighbourRequest({ ...use, managed: true, protocol: 120 }, 1);
  assert.equal(
    Buffer.from(marked.subarray(36)).toString('hex'),
    '08000f0001000000' + '05000c0078000000',
  );
  assert.equal(marked.length, 52);
  const address = Buffer.from('fd000077000000000000000000000002', 'hex');
  const six = useNeighbourRequest({ ...use, address, managed: false }, 1);
  assert.equal(
    Buffer.from(six).toString('hex'),
    '300000001c00050401000000000000000a000000050000000000010014000100fd00' +
      '0077000000000000000000000002',
  );
});

test('words of addresses and MACs', () => {
  assert.equal(ipv4Word(new Uint8Array([192, 168, 0, 100])), 0xc0a80064 | 0);
  assert.equal(ipv4Word(new Uint8Array(0)), 0);
  assert.equal(macHigh(new Uint8Array(8)), 0, 'no Ethernet MAC');
});

test('damaged datagrams are read without an error and without reading past their end', () => {
  const names = ['link', 'address', 'route', 'rule', 'neighbour', 'ownAddress6', 'route6'];
  const all = names.map(bytesOf);
  fc.assert(
    fc.property(
      fc.constantFrom(...all),
      fc.array(fc.tuple(fc.nat(3000), fc.nat(255)), { maxLength: 12 }),
      fc.nat(3000),
      (whole, changes, length) => {
        const bytes = whole.slice(0, length);
        for (const [at, value] of changes) {
          bytes[at % Math.max(1, bytes.length)] = value;
        }
        for (const message of parseMessages(bytes)) {
          assert.ok(message.kind.length > 0);
        }
      },
    ),
    { numRuns: 500 },
  );
});
