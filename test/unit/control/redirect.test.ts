/**
 * What the XDP program is told. Following single commands gives it the same maps as telling it
 * everything does, as soon as removals are told; what is added is there at once. What is removed
 * stays as long as connections need it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Director } from '#xvs/control/director';
import { parseRules } from '#xvs/control/mark/parse';
import { compileRule } from '#xvs/control/mark/rule';
import type { LinkMessage } from '#xvs/control/netlink';
import type { Command, ServerSettings, ServiceKey, ServiceSettings } from '#xvs/control/protocol';
import { Redirect } from '#xvs/control/redirect';
import { RedirectFollower } from '#xvs/control/redirectFollower';
import { interfacesOf } from '#xvs/control/redirectMacs';
import { addressBytes, addressWords, parseIpv4 } from '#xvs/net/address';
import { MARK_RULES_MAX, removedMarkRule, removedMarkRuleOfAll } from '#xvs/table/mark';
import { attachTables, createMemory } from '#xvs/table/memory';

type Program = ConstructorParameters<typeof Redirect>[0];

const KEY_BYTES: Readonly<Record<string, number>> = {
  services: 24,
  real_servers: 24,
  local_addresses: 20,
  fragment_addresses: 20,
  mark_services: 4,
  endpoints4: 4,
  endpoints6: 4,
};
const BUCKET_BYTES = 64;
/** Bit of the settings: the buckets of endpoints are kept. It is always set. */
const KEPT = 64;
/** Where the values of maps stand among the kinds, beside what each entry has. */
const KIND_SHIFTS: Readonly<Record<string, number>> = {
  services: 0,
  real_servers: 1,
  local_addresses: 3,
};
const KIND_USED = 128;

/** Entries that stand one behind the other. */
function split(bytes: Uint8Array, size: number): Uint8Array[] {
  assert.equal(bytes.length % size, 0);
  return Array.from({ length: bytes.length / size }, (_none, at) =>
    bytes.subarray(at * size, (at + 1) * size),
  );
}

/** The kernel's side of the maps, counting what is written. */
class Maps {
  /** By map, then by number. */
  readonly buckets: Readonly<Record<string, Map<number, Uint8Array>>> = {
    endpoints4: new Map(),
    endpoints6: new Map(),
  };
  readonly held = new Map<string, string>();
  writes = 0;

  readonly program = {
    mapUpdate: (map: string, key: Uint8Array, value: Uint8Array) => {
      this.before(map, false);
      this.writes++;
      this.held.set(
        `${map} ${Buffer.from(key).toString('hex')}`,
        Buffer.from(value).toString('hex'),
      );
    },
    mapDelete: (map: string, key: Uint8Array) => {
      this.writes++;
      assert.ok(this.held.delete(`${map} ${Buffer.from(key).toString('hex')}`), 'there is no such');
    },
    mapUpdateMany: (map: string, keys: Uint8Array, values: Uint8Array) => {
      const held = this.buckets[map];
      if (held !== undefined) {
        const buckets = split(values, BUCKET_BYTES);
        for (const [at, bucket] of new Uint32Array(keys.slice().buffer).entries()) {
          this.writes++;
          held.set(bucket, buckets[at]!.slice());
        }
        return;
      }
      const wanted = split(values, 4);
      for (const [at, key] of split(keys, KEY_BYTES[map]!).entries()) {
        this.program.mapUpdate(map, key, wanted[at]!);
      }
    },
    mapDeleteMany: (map: string, keys: Uint8Array) => {
      this.before(map, true);
      for (const key of split(keys, KEY_BYTES[map]!)) this.program.mapDelete(map, key);
    },
  } as unknown as Program;

  /** What the buckets say: kinds by address, port and protocol. */
  kinds(): Map<string, number> {
    const kinds = new Map<string, number>();
    for (const [map, entryBytes] of [
      ['endpoints4', 8],
      ['endpoints6', 20],
    ] as const) {
      for (const bucket of this.buckets[map]!.values()) {
        assert.equal(bucket[60], 0, 'none is left out');
        const count = Math.floor(60 / entryBytes);
        for (const entry of split(bucket.subarray(0, count * entryBytes), entryBytes)) {
          const last = entryBytes - 1;
          const text = Buffer.from(entry).toString('hex', 0, last);
          if ((entry[last]! & ~KIND_USED) !== 0) kinds.set(text, entry[last]! & ~KIND_USED);
        }
      }
    }
    return kinds;
  }

  /** What they should say: the entries of the other maps. */
  kindsWanted(): Map<string, number> {
    const kinds = new Map<string, number>();
    for (const [id, value] of this.held) {
      const [map, key] = id.split(' ') as [string, string];
      const shift = KIND_SHIFTS[map];
      if (shift === undefined) continue;
      const isAddress = map === 'local_addresses';
      const family = key.slice(isAddress ? 32 : 38, isAddress ? 34 : 40);
      const address = key.slice(0, family === '04' ? 8 : 32);
      const endpoint = address + (isAddress ? '000000' : key.slice(32, 38));
      const bits = Buffer.from(value, 'hex').readUInt32LE() << shift;
      kinds.set(endpoint, (kinds.get(endpoint) ?? 0) | bits);
    }
    return kinds;
  }

  /** Called before a map loses entries, or a single one is written. */
  before: (map: string, isRemoval: boolean) => void = () => {};

  entries(): string[] {
    return [...this.held].map(([key, value]) => `${key} ${value}`).sort();
  }
}

const SETTINGS: ServiceSettings = {
  scheduler: 'rr',
  persistentTimeout: 0,
  netmask: '255.255.255.255',
  onePacket: false,
  schedulerFlags: [false, false, false],
  persistenceEngine: '',
};
const SERVER: ServerSettings = {
  method: 'nat',
  weight: 1,
  upperThreshold: 0,
  lowerThreshold: 0,
  tunnel: { type: 'ipip', port: 0, checksum: 'nocsum' },
};

function serviceAt(port: number): ServiceKey {
  return { family: 4, protocol: 'tcp', address: '10.0.0.1', port, fwmark: 0 };
}

function newDirector(changed: (director: Director, command: Command | null) => void): Director {
  const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
  const director: Director = new Director(
    attachTables(memory, () => {}),
    (command) => changed(director, command),
  );
  return director;
}

const commands = fc.oneof(
  fc.record({
    command: fc.constantFrom('add-service', 'delete-service'),
    port: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({
    command: fc.constantFrom('add-server', 'delete-server', 'edit-server'),
    port: fc.integer({ min: 1, max: 4 }),
    server: fc.integer({ min: 1, max: 3 }),
  }),
  fc.constant({ command: 'flush' as const }),
);

function commandOf(step: { command: string; port?: number; server?: number }): Command {
  const { command } = step;
  if (command === 'flush') return { command };
  const service = serviceAt(step.port ?? 0);
  if (step.server === undefined) return { command, service, settings: SETTINGS } as Command;
  const server = { family: 4, address: `192.168.0.${step.server}`, port: 80 };
  return { command, service, server, settings: SERVER } as Command;
}

test('command by command, the maps become what they are when told as a whole', () => {
  const property = fc.property(fc.array(commands, { maxLength: 60 }), (steps) => {
    const maps = new Maps();
    const follower = new RedirectFollower(new Redirect(maps.program));
    const director = newDirector((one, command) => follower.changed(one, command));
    for (const step of steps) {
      try {
        director.execute(commandOf(step));
      } catch (error) {
        assert.equal((error as Error).name, 'DirectorError');
      }
      const whole = new Maps();
      new Redirect(whole.program).updateServices(director);
      // Values are bits, of which more than enough is no harm.
      const missing = [...whole.held].filter(([key, value]) => {
        const there = Number.parseInt(maps.held.get(key) ?? '0', 16);
        return (Number.parseInt(value, 16) & ~there) !== 0;
      });
      assert.deepEqual(missing, [], `after ${JSON.stringify(step)}`);
      assert.deepEqual(maps.kinds(), maps.kindsWanted());
    }
    follower.update(director);
    const whole = new Maps();
    new Redirect(whole.program).updateServices(director);
    assert.deepEqual(maps.entries(), whole.entries());
    assert.deepEqual(maps.kinds(), whole.kinds());
  });
  fc.assert(property, { numRuns: 200 });
});

test('ten thousand commands write what they add once, in time that grows with them alone', () => {
  const maps = new Maps();
  const follower = new RedirectFollower(new Redirect(maps.program));
  const director = newDirector((one, command) => follower.changed(one, command));
  const began = performance.now();
  for (let port = 1; port <= 10_000; port++) {
    director.execute({ command: 'add-service', service: serviceAt(port), settings: SETTINGS });
  }
  assert.ok(maps.writes < 20_020, `${maps.writes} writes`);
  for (let port = 1; port <= 10_000; port++) {
    director.execute({ command: 'delete-service', service: serviceAt(port) });
  }
  const tookMs = performance.now() - began;
  follower.close();
  assert.ok(tookMs < 5000, `they took ${tookMs.toFixed(0)} ms`);
});

const SERVICE_VALUE = '01000000';
const addressHex = (text: string): string => Buffer.from(addressBytes(text)).toString('hex');
const portHex = (port: number): string => port.toString(16).padStart(4, '0');
const byteHex = (value: number): string => value.toString(16).padStart(2, '0');
const familyHex = (text: string): string => (text.includes(':') ? '06' : '04');
const wordHex = (value: number): string =>
  Buffer.from(Uint32Array.of(value).buffer).toString('hex');

function endpoint(map: string, address: string, port: number, protocol: number): string {
  const key = `${addressHex(address)}${portHex(port)}${byteHex(protocol)}${familyHex(address)}`;
  return `${map} ${key}00000000`;
}
function byAddress(map: string, address: string): string {
  return `${map} ${addressHex(address)}${familyHex(address)}000000`;
}
const SETTINGS_KEY = `settings ${wordHex(0)}`;

class Stand {
  readonly maps = new Maps();
  readonly redirect = new Redirect(this.maps.program);
  readonly follower = new RedirectFollower(this.redirect);
  readonly director = newDirector((one, command) => this.follower.changed(one, command));

  value(key: string): number | null {
    const hex = this.maps.held.get(key);
    return hex === undefined ? null : Buffer.from(hex, 'hex').readUInt32LE();
  }
  get settings(): number {
    return this.value(SETTINGS_KEY)!;
  }
  add(service: ServiceKey, address: string, port: number, settings: Partial<ServerSettings>): void {
    const server = { family: address.includes(':') ? 6 : 4, address, port } as const;
    const whole = { ...SERVER, ...settings };
    this.director.execute({ command: 'add-server', service, server, settings: whole });
  }
  /** As if a connection were bound to a server of the service. */
  bind(service: ServiceKey, change: 1 | -1): void {
    const { slot } = this.director.find(service)!.servers[0]!;
    const { realServers } = this.director.tables;
    if (change > 0) realServers.bind(slot, true);
    else realServers.unbind(slot, true);
  }
}

test('errors and fragments are redirected as soon as there is a service, and no longer', () => {
  const stand = new Stand();
  assert.equal(stand.settings, KEPT);
  const service = serviceAt(80);
  stand.director.execute({ command: 'add-service', service, settings: SETTINGS });
  assert.equal(stand.settings, KEPT | 4 | 8);
  const six: ServiceKey = { ...service, family: 6, address: 'fd00::80', protocol: 'udp' };
  const settings = { ...SETTINGS, netmask: '128' };
  stand.director.execute({ command: 'add-service', service: six, settings });
  stand.add(service, '192.168.0.1', 8080, {});
  stand.add(six, 'fd00::1', 8080, {});
  stand.add(service, '192.168.0.2', 80, { method: 'dr' });
  const expected: readonly (readonly [string, number | null])[] = [
    [endpoint('services', 'fd00::80', 80, 17), 1],
    [endpoint('real_servers', 'fd00::1', 8080, 17), 1],
    [endpoint('real_servers', '192.168.0.1', 8080, 6), 1],
    [byAddress('fragment_addresses', '10.0.0.1'), 1],
    [byAddress('fragment_addresses', 'fd00::80'), 1],
    [byAddress('fragment_addresses', '192.168.0.1'), 2],
    [byAddress('fragment_addresses', 'fd00::1'), 2],
    // Its replies are no business of the director.
    [byAddress('fragment_addresses', '192.168.0.2'), null],
  ];
  for (const [key, value] of expected) assert.equal(stand.value(key), value, key);
  assert.equal(stand.maps.kinds().size, 5);
  assert.deepEqual(stand.maps.kinds(), stand.maps.kindsWanted());
  stand.director.execute({ command: 'flush' });
  stand.follower.update(stand.director);
  assert.equal(stand.settings, KEPT);
  assert.deepEqual([...stand.maps.held.keys()], [SETTINGS_KEY]);
});

test('the far ends of tunnels are known by the protocol of what we send them', () => {
  const stand = new Stand();
  const six: ServiceKey = { ...serviceAt(80), family: 6, address: 'fd00::80' };
  const settings = { ...SETTINGS, netmask: '128' };
  stand.director.execute({ command: 'add-service', service: serviceAt(80), settings: SETTINGS });
  stand.director.execute({ command: 'add-service', service: six, settings });
  const tunnel = (type: 'ipip' | 'gue' | 'gre', port = 0): Partial<ServerSettings> => ({
    method: 'tunnel',
    tunnel: { type, port, checksum: 'nocsum' },
  });
  stand.add(serviceAt(80), '192.168.0.1', 80, tunnel('ipip'));
  stand.add(serviceAt(80), 'fd00::1', 80, tunnel('ipip'));
  stand.add(six, '192.168.0.2', 80, tunnel('ipip'));
  stand.add(six, 'fd00::2', 80, tunnel('gre'));
  stand.add(serviceAt(80), '192.168.0.3', 80, tunnel('gue', 6080));
  for (const key of [
    endpoint('real_servers', '192.168.0.1', 0, 4),
    endpoint('real_servers', 'fd00::1', 0, 4),
    endpoint('real_servers', '192.168.0.2', 0, 41),
    endpoint('real_servers', 'fd00::2', 0, 47),
    endpoint('real_servers', '192.168.0.3', 6080, 17),
  ]) {
    assert.equal(stand.value(key), 2, key);
  }
  // Port 0 of a tunnel is no wildcard of replies.
  stand.follower.update(stand.director);
  assert.equal(stand.settings & 2, 0);
  // GUE's port may be one that a server answers from.
  const dns: ServiceKey = { ...serviceAt(53), protocol: 'udp' };
  stand.director.execute({ command: 'add-service', service: dns, settings: SETTINGS });
  stand.add(dns, '192.168.0.3', 6080, {});
  assert.equal(stand.value(endpoint('real_servers', '192.168.0.3', 6080, 17)), 3);
  stand.follower.update(stand.director);
  assert.equal(stand.value(endpoint('real_servers', '192.168.0.3', 6080, 17)), 3);
});

test('local addresses of FULLNAT are taken, and stay while connections may use them', () => {
  const stand = new Stand();
  const service = serviceAt(80);
  const key = byAddress('local_addresses', '192.168.0.200');
  const local = (command: 'add-local-address' | 'delete-local-address'): void =>
    stand.director.execute({ command, service, address: '192.168.0.200' });
  stand.redirect.updateLocalAddresses([parseIpv4('192.168.0.200'), parseIpv4('192.168.0.100')]);
  stand.redirect.updateLocalAddresses6([[...addressWords('fd00::100')]]);
  assert.equal(stand.value(key), 1);
  stand.director.execute({ command: 'add-service', service, settings: SETTINGS });
  stand.add(service, '192.168.0.1', 80, { method: 'fullnat' });
  local('add-local-address');
  assert.equal(stand.value(key), 3, 'at once');
  assert.equal(stand.value(byAddress('local_addresses', '192.168.0.100')), 1);
  assert.equal(stand.value(byAddress('local_addresses', 'fd00::100')), 1);
  assert.equal(stand.maps.kinds().get('c0a800c8000000'), 8 | 16);
  assert.deepEqual(stand.maps.kinds(), stand.maps.kindsWanted());
  stand.bind(service, 1);
  local('delete-local-address');
  stand.follower.update(stand.director);
  assert.equal(stand.value(key), 3, 'a connection is left');
  assert.equal(stand.redirect.waitsForConnections, true);
  stand.bind(service, -1);
  stand.follower.update(stand.director);
  assert.equal(stand.value(key), 1);
  assert.equal(stand.redirect.waitsForConnections, false);
});

const MARKED: ServiceKey = {
  family: 4,
  protocol: 'tcp',
  address: '0.0.0.0',
  port: 0,
  fwmark: 66,
};
function rulesOf(...texts: string[]): Int32Array[] {
  return texts.flatMap((text) => parseRules(text, 4)).map((rule) => compileRule(rule, ['eth0']));
}

/** The rules in force in the program's map, in order. */
function rulesHeld(stand: Stand): string[] {
  const map = (stand.settings & 16) === 0 ? 'mark_rules_0' : 'mark_rules_1';
  return Array.from({ length: stand.settings >>> 16 }, (_none, at) => {
    const bytes = Buffer.from(stand.maps.held.get(`${map} ${wordHex(at)}`)!, 'hex');
    return new Int32Array(new Uint8Array(bytes).buffer).join();
  });
}

function markStand(): Stand {
  const stand = new Stand();
  stand.director.execute({ command: 'add-service', service: MARKED, settings: SETTINGS });
  stand.add(MARKED, '192.168.0.1', 80, {});
  return stand;
}

test('a removed mark rule goes on redirecting until no connection of a mark is left', () => {
  const stand = markStand();
  const [web, tls, all] = rulesOf(
    '-p tcp --dport 80 -j MARK --set-mark 66',
    '-p tcp --dport 443 -j MARK --set-mark 66',
    '-j MARK --set-mark 7',
  );
  const removed = (rule: Int32Array): string => removedMarkRule(rule).join();
  const now = (...rules: Int32Array[]): string[] => {
    stand.redirect.updateMarks(rules);
    return rulesHeld(stand);
  };
  assert.equal(stand.value(`mark_services ${wordHex(66)}`), 1);
  assert.deepEqual(now(web!, tls!), [web!.join(), tls!.join()], 'nothing there before');
  assert.equal(stand.settings & 32, 32, 'fragments may be of any mark');
  stand.bind(MARKED, 1);
  assert.deepEqual(now(web!), [web!.join(), removed(tls!)]);
  assert.deepEqual(now(web!), [web!.join(), removed(tls!)], 'no change');
  // One that is added may take the mark away from what the others gave it to.
  assert.deepEqual(now(web!, all!), [web!.join(), all!.join(), removed(tls!), removed(web!)]);
  stand.follower.update(stand.director);
  assert.equal(rulesHeld(stand).length, 4);
  assert.equal(stand.redirect.waitsForConnections, true);
  stand.director.execute({ command: 'delete-service', service: MARKED });
  stand.director.execute({ command: 'add-service', service: serviceAt(80), settings: SETTINGS });
  stand.follower.update(stand.director);
  assert.equal(rulesHeld(stand).length, 4, 'its connections are in the trash');
  stand.director.tables.realServers.unbind(stand.director.trash[0]!.server.slot, true);
  stand.follower.update(stand.director);
  assert.deepEqual(rulesHeld(stand), [web!.join(), all!.join()]);
  assert.equal(stand.redirect.waitsForConnections, false);
});

test('mark rules whose settings the kernel refuses are written to the idle half again', () => {
  const stand = markStand();
  const [web, tls] = rulesOf(
    '-p tcp --dport 80 -j MARK --set-mark 66',
    '-p tcp --dport 443 -j MARK --set-mark 66',
  );
  stand.redirect.updateMarks([web!]);
  const inForce = (stand.settings & 16) === 0 ? 'mark_rules_0' : 'mark_rules_1';
  let refusals = 1;
  stand.maps.before = (map) => {
    assert.notEqual(map, inForce, 'frames are judged by these rules');
    if (map === 'settings' && refusals-- > 0) throw new Error('ENOMEM');
  };
  assert.throws(() => stand.redirect.updateMarks([tls!]), /ENOMEM/);
  assert.deepEqual(rulesHeld(stand), [web!.join()]);
  stand.redirect.updateMarks([tls!]);
  assert.deepEqual(rulesHeld(stand), [tls!.join(), removedMarkRule(web!).join()]);
});

test('what takes the place of another is there before that goes, in all maps', () => {
  const stand = new Stand();
  stand.director.execute({ command: 'add-service', service: serviceAt(80), settings: SETTINGS });
  stand.add(serviceAt(80), '192.168.0.1', 8080, {});
  stand.director.execute({ command: 'delete-service', service: serviceAt(80) });
  const had: boolean[] = [];
  stand.maps.before = (_map, isRemoval) => {
    if (isRemoval) had.push(stand.value(`mark_services ${wordHex(66)}`) === 1);
  };
  // Of every port, so that everything is told anew.
  stand.director.execute({ command: 'add-service', service: MARKED, settings: SETTINGS });
  assert.deepEqual(had, [true, true, true], 'service, server and address go after that');
});

test('more removed mark rules than fit become one for everything', () => {
  const stand = markStand();
  stand.bind(MARKED, 1);
  const some = (from: number): Int32Array[] =>
    rulesOf(
      ...Array.from(
        { length: MARK_RULES_MAX },
        (_none, at) => `-p tcp --dport ${from + at} -j MARK --set-mark 66`,
      ),
    );
  stand.redirect.updateMarks(some(1));
  stand.redirect.updateMarks(some(1000));
  assert.equal(rulesHeld(stand).length, 2 * MARK_RULES_MAX);
  stand.redirect.updateMarks(some(2000));
  const held = rulesHeld(stand).slice(MARK_RULES_MAX);
  assert.deepEqual(
    held,
    [4, 6].map((family) => removedMarkRuleOfAll(family as 4 | 6).join()),
  );
});

test('an interface takes frames for its MAC, its master, and macvlans on it', () => {
  const link = (index: number, name: string, last: number, more: Partial<LinkMessage> = {}) =>
    ({
      kind: 'link',
      deleted: false,
      family: 0,
      index,
      name,
      flags: 0,
      mtu: 1500,
      mac: Uint8Array.of(2, 0, 0, 0, 0, last),
      master: 0,
      parent: 0,
      linkKind: '',
      ...more,
    }) satisfies LinkMessage;
  const links = [
    link(1, 'lo', 0, { mac: new Uint8Array(0) }),
    link(2, 'eth0', 0x10, { master: 5 }),
    link(3, 'eth1', 0x11),
    link(4, 'vrrp.51', 0x51, { linkKind: 'macvlan', parent: 3 }),
    link(5, 'br0', 0xb0, { linkKind: 'bridge' }),
    // A veth's "parent" is its peer.
    link(6, 'veth0', 0x60, { linkKind: 'veth', parent: 3 }),
  ];
  const interfaces = interfacesOf(['eth1', 'none', 'eth0'], links);
  assert.deepEqual(interfaces, [
    { index: 3, mac: '02:00:00:00:00:11', otherMacs: ['02:00:00:00:00:51'] },
    { index: 0, mac: '' },
    { index: 2, mac: '02:00:00:00:00:10', otherMacs: ['02:00:00:00:00:b0'] },
  ]);
  const stand = new Stand();
  stand.redirect.updateInterfaces(interfaces);
  const other = (index: number, last: string): string =>
    `other_macs ${wordHex(index)}0200000000${last}0000`;
  assert.deepEqual(
    stand.maps.entries().filter((entry) => !entry.startsWith('settings')),
    [
      `interfaces ${wordHex(2)} ${wordHex(2)}${wordHex(4)}0200000000100100`,
      `interfaces ${wordHex(3)} ${wordHex(3)}${wordHex(1)}0200000000110100`,
      `${other(2, 'b0')} ${SERVICE_VALUE}`,
      `${other(3, '51')} ${SERVICE_VALUE}`,
    ].sort(),
  );
  // Another kernel number, as when it is made anew; and one that would stand in the same slot.
  stand.redirect.updateInterfaces([
    { index: 259, mac: '' },
    { index: 3, mac: '' },
  ]);
  assert.deepEqual(
    stand.maps.entries().filter((entry) => !entry.startsWith('settings')),
    [
      `interfaces ${wordHex(2)} ${'00'.repeat(16)}`,
      `interfaces ${wordHex(3)} ${wordHex(259)}${wordHex(1)}${'00'.repeat(8)}`,
      `interfaces ${wordHex(4)} ${wordHex(3)}${wordHex(2)}${'00'.repeat(8)}`,
    ],
  );
});
