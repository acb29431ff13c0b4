import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { isMirrored, mirrorRoutes, prefixText, ruleWarnings } from '#xvs/control/kernelRoutes';
import {
  AF_INET,
  AF_INET6,
  dumpRequest,
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
  TABLE_LOCAL,
  TABLE_MAIN,
  useNeighbourRequest,
} from '#xvs/control/netlink';
import { parseMessages } from '#xvs/control/netlinkParse';
import { ofKind } from '#xvs/control/netlinkSocket';
import { ROUTE_LOCAL, ROUTE_UNICAST, ROUTE_UNREACHABLE, type Route } from '#xvs/table/route';

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
  const { tables, warnings } = mirrorRoutes(routes, (index) => (index === served ? 4 : -1));
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
    () => 0,
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
  assert.equal(isMirrored({ ...base, table: TABLE_MAIN, flags: 0, family: AF_INET6 }), false);
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
});

test('words of addresses and MACs', () => {
  assert.equal(ipv4Word(new Uint8Array([192, 168, 0, 100])), 0xc0a80064 | 0);
  assert.equal(ipv4Word(new Uint8Array(0)), 0);
  assert.equal(macHigh(new Uint8Array(8)), 0, 'no Ethernet MAC');
});

test('damaged datagrams are read without an error and without reading past their end', () => {
  const all = ['link', 'address', 'route', 'rule', 'neighbour'].map(bytesOf);
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
