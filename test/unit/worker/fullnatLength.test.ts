/**
 * FULLNAT over ways that are narrower than the director's link: the client's address is put into a
 * packet only where the longer packet still gets through, be it a route or a router that says so.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4 } from '#xvs/net/address';
import { ROUTE_UNICAST } from '#xvs/table/route';
import type { Fields } from '../../support/decode';
import { Connected, errorFrame, FAMILIES, type Family, quote } from '../../support/icmpCases';
import { ethernet, type PacketBuilder } from '../../support/packet';
import { CLIENT_SIDE, SERVER_SIDE, serverMac, words6 } from '../../support/simulation';

const NARROW = 1400;
const SERVER_FIRST = 5000;
/** Bytes of the option that names the client. */
const TOA_BYTES = { 4: 8, 6: 20 } as const;

const ip = (family: Family, builder: PacketBuilder, source: string, destination: string) =>
  family.family === 4
    ? builder.ipv4({ source, destination, fragment: 0x4000 })
    : builder.ipv6({ source, destination });

/** A connection whose server has answered: from now on packets tell the client's address. */
function established(family: Family): Connected {
  const connected = new Connected(family, 'tcp', { method: 'fullnat' });
  const { port } = connected.replyEnd;
  const server = ethernet({ source: serverMac(1), destination: '02:00:00:00:02:01' });
  const reply = ip(family, server, family.real, family.local)
    .tcp({ source: 8000, destination: port, sequence: SERVER_FIRST, flags: 'SA' })
    .build();
  assert.equal(connected.receive(SERVER_SIDE, reply).side, CLIENT_SIDE);
  return connected;
}

/** A segment of the client of `total` bytes, before the server's first byte is acknowledged. */
const segment = (family: Family, total: number): Uint8Array =>
  ip(family, ethernet(), family.client, family.vip)
    .tcp({ sequence: 1001, acknowledgement: SERVER_FIRST + 1, flags: 'PA' })
    .payload(new Uint8Array(total - family.headerBytes - 20).fill(0x61))
    .build();

function assertWithoutAddress(fields: Fields, total: number): void {
  assert.equal(fields['bytes'], 14 + total);
  assert.equal(fields['tcp.options'] ?? '', '');
  assert.equal(fields['tcp.checksumIs'], 'correct');
}

function narrowRoute({ simulation, family }: Connected): void {
  const { nextHops } = simulation.tables;
  const common = { kind: ROUTE_UNICAST, mtu: NARROW, interfaceSlot: SERVER_SIDE };
  if (family.family === 4) {
    const destination = parseIpv4(family.real);
    const client = parseIpv4(family.client);
    const route = { ...common, destination, prefixLength: 32, gateway: 0, preferredSource: 0 };
    const back = { ...route, destination: client, mtu: 0, interfaceSlot: CLIENT_SIDE };
    assert.ok(nextHops.replaceRoutes([[route, back]]));
    return;
  }
  const none = words6('::');
  const destination = words6(family.real);
  const addresses = { gateway: none, preferredSource: none };
  const route = { ...common, destination, prefixLength: 128, ...addresses };
  const client = words6(family.client);
  const back = { ...route, destination: client, mtu: 0, interfaceSlot: CLIENT_SIDE };
  assert.ok(nextHops.replaceRoutes6([[route, back]]));
}

for (const family of FAMILIES) {
  const toaBytes = TOA_BYTES[family.family];

  test(`${family.ip}: a route narrower than its link leaves the client's address out`, () => {
    const connected = established(family);
    narrowRoute(connected);
    const { fields } = connected.receive(CLIENT_SIDE, segment(family, NARROW - toaBytes + 4));
    assertWithoutAddress(fields, NARROW - toaBytes + 4);
    const fits = connected.receive(CLIENT_SIDE, segment(family, NARROW - toaBytes)).fields;
    assert.equal(fits['bytes'], 14 + NARROW);
    assert.equal(connected.simulation.counter('toa_inserted'), 1);
    assert.equal(connected.simulation.counter('toa_failed'), 1);
    assert.deepEqual(connected.simulation.verdicts(), {});
    connected.simulation.assertNoLeak();
  });

  test(`${family.ip}: so does a router on the way that has said what fits`, () => {
    const connected = established(family);
    const first = connected.receive(CLIENT_SIDE, segment(family, NARROW)).fields;
    assert.equal(first['bytes'], 14 + NARROW + toaBytes);
    const { address, port } = connected.replyEnd;
    const quoted = ip(family, ethernet(), address, family.real)
      .tcp({ source: port, destination: 8000, flags: 'PA' })
      .payload(new Uint8Array(1200));
    const error = errorFrame(
      family,
      family.serverRouter,
      family.local,
      family.tooBig,
      quote(quoted, 100),
      { rest: NARROW },
    );
    const told = connected.receive(SERVER_SIDE, error);
    assert.equal(told.side, CLIENT_SIDE);
    assert.equal(told.fields[`${family.icmp}.rest`], NARROW);
    const again = connected.receive(CLIENT_SIDE, segment(family, NARROW)).fields;
    assertWithoutAddress(again, NARROW);
    const fits = connected.receive(CLIENT_SIDE, segment(family, NARROW - toaBytes)).fields;
    assert.equal(fits['bytes'], 14 + NARROW);
    assert.equal(connected.simulation.counter('toa_failed'), 1);
    connected.simulation.assertNoLeak();
  });
}
