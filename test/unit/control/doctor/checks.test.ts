/** The checks of `xvs doctor`, each with facts in which one thing is wrong. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { diagnose } from '#xvs/control/doctor/diagnose';
import { exitStatus, type Finding } from '#xvs/control/doctor/finding';
import { NUD_FAILED } from '#xvs/control/netlink';
import {
  device,
  type FactChanges,
  facts,
  link,
  SERVER,
  SERVER_MAC,
  server,
  service,
  state,
  VIP,
} from '../../../support/doctorFacts';

function wrong(changes: FactChanges): Finding[] {
  return diagnose(facts(changes)).filter(({ severity }) => severity !== 'ok');
}

/** What is found when one thing is wrong: its checks, and texts that must be in it. */
interface Case {
  readonly what: string;
  readonly changes: FactChanges;
  /** "error CHECK" or "warning CHECK", all of them. */
  readonly found: readonly string[];
  readonly text: RegExp;
}

function check({ what, changes, found, text }: Case): void {
  test(what, () => {
    const findings = wrong(changes);
    assert.deepEqual(
      findings.map((one) => `${one.severity} ${one.check}`),
      found,
    );
    assert.match(JSON.stringify(findings), text);
    for (const { why, remedy } of findings) {
      assert.notEqual(why, '');
      assert.ok(remedy.length > 0);
    }
  });
}

const base = facts().host;
const withSysctl = (name: string, value: number) => ({
  sysctls: new Map([...base.sysctls, [name, value]]),
});
const replaced = (name: string, changes: Parameters<typeof link>[1]) =>
  base.links.map((one) => (one.name === name ? { ...one, ...changes } : one));
const dropped = (reason: string, before: number, after: number) => ({
  before: state({ drops: { ...state().drops, [reason]: before } }),
  after: state({ drops: { ...state().drops, [reason]: after } }),
});

test('a host on which nothing is wrong', () => {
  assert.deepEqual(wrong({}), []);
  assert.deepEqual(
    wrong({
      daemon: null,
      host: {
        links: replaced('eth0', { xdp: 'none' }).map((one) => ({ ...one, xdp: 'none' as const })),
      },
    }),
    [],
  );
  assert.equal(exitStatus(diagnose(facts())), 0);
});

test('errors come first and decide the exit status', () => {
  const found = wrong({
    host: { ...withSysctl('net.ipv4.ip_forward', 0), unmirrored: ['a rule'] },
  });
  assert.deepEqual(
    found.map(({ check: name }) => name),
    ['forwarding-off', 'routing-unmirrored'],
  );
  assert.equal(exitStatus(found), 3);
  const worse = wrong({
    host: { ...withSysctl('net.ipv4.ip_forward', 0), links: replaced('eth0', { up: false }) },
  });
  assert.deepEqual(
    worse.map(({ severity }) => severity),
    ['error', 'warning'],
  );
  assert.equal(exitStatus(worse), 4);
});

describe('addresses', () => {
  const others = base.addresses.filter(({ address }) => address !== VIP);
  const near = { address: '172.25.254.9', family: 4, prefixLength: 24, interface: 'eth0' } as const;
  const onLo = { address: VIP, family: 4, prefixLength: 32, interface: 'lo' } as const;
  for (const one of [
    {
      what: 'a VIP in the network of an interface is nowhere',
      changes: { host: { addresses: [...others, near] } },
      found: ['error vip-missing'],
      text: /ip address add 172\.25\.254\.100\/32 dev eth0/,
    },
    {
      what: 'a VIP in no network of the host may be routed here',
      changes: { host: { addresses: others } },
      found: ['warning vip-missing'],
      text: /only if a router sends packets/,
    },
    {
      what: 'a VIP on lo that the director keeps quiet about',
      changes: {
        host: {
          addresses: [...others, near, onLo],
          ...withSysctl('net.ipv4.conf.eth0.arp_ignore', 1),
        },
      },
      found: ['error vip-silent'],
      text: /net\.ipv4\.conf\.eth0\.arp_ignore=0/,
    },
    {
      what: 'a VIP on an interface that is not served',
      changes: {
        host: {
          addresses: [...others, { ...onLo, interface: 'eth9' }],
          links: [...base.links, link('eth9', { index: 9 })],
        },
      },
      found: ['warning vip-elsewhere'],
      text: /name: eth9/,
    },
    {
      what: 'a real server of direct routing that answers for the VIP',
      changes: {
        setup: { services: [service([server({ method: 'dr' })])] },
        host: { claims: [{ address: VIP, interface: 'eth1', mac: SERVER_MAC }] },
      },
      found: ['error vip-answered-by-server'],
      text: /arp_ignore=1/,
    },
    {
      what: 'another host that has the VIP',
      changes: {
        host: { claims: [{ address: VIP, interface: 'eth0', mac: '02:00:00:00:09:09' }] },
      },
      found: ['error vip-duplicate'],
      text: /02:00:00:00:09:09 answers ARP/,
    },
    {
      what: 'FULLNAT without a local address',
      changes: { setup: { services: [service([server({ method: 'fullnat' })])] } },
      found: ['error local-address-none'],
      text: /--add-laddr/,
    },
    {
      what: 'a local address that is on no interface',
      changes: {
        setup: {
          services: [
            { ...service([server({ method: 'fullnat' })]), localAddresses: ['192.168.0.77'] },
          ],
        },
      },
      found: ['error local-address-missing'],
      text: /ip address add 192\.168\.0\.77\/32 dev eth1/,
    },
  ] satisfies Case[]) {
    check(one);
  }

  test('a VIP on lo that the director answers for is well', () => {
    assert.deepEqual(wrong({ host: { addresses: [...others, near, onLo] } }), []);
  });

  test('the address of a service by mark is that of its rule', () => {
    const setup = {
      services: [service([server()], { fwmark: 66, address: '0.0.0.0', port: 0 })],
      marks: [
        {
          family: 4 as const,
          rule: '-d 172.25.254.77/32 -p tcp -j MARK --set-xmark 0x42/0xffffffff',
        },
      ],
    };
    const [finding] = wrong({ setup });
    assert.equal(finding?.check, 'vip-missing');
    assert.equal(finding?.subject, '172.25.254.77');
  });
});

describe('real servers', () => {
  const route = { kind: 'unicast', interface: 'eth1', gateway: '', mtu: 0 } as const;
  const to = (changes: object) => ({ routes: new Map([[SERVER, { ...route, ...changes }]]) });
  const waits = (count: number, progressed = 0) =>
    new Map([[`${SERVER}:80`, { waiting: count, progressed }]]);
  const reachable = (answer: boolean) => new Map([[`${SERVER}:80`, answer]]);
  const failed = { address: SERVER, interface: 'eth1', state: NUD_FAILED, mac: '' };
  for (const one of [
    {
      what: 'no route',
      changes: { host: to({ kind: 'none' }) },
      found: ['error server-no-route'],
      text: /ip route add 192\.168\.0\.10/,
    },
    {
      what: 'a route by an interface that is not served',
      changes: {
        host: {
          ...to({ interface: 'eth1.5' }),
          links: [...base.links, link('eth1.5', { kind: 'vlan', parent: 'eth1' })],
        },
      },
      found: ['error server-unserved'],
      text: /eth1\.5 is a VLAN on eth1/,
    },
    {
      what: 'direct routing over a gateway',
      changes: {
        setup: { services: [service([server({ method: 'dr' })])] },
        host: to({ gateway: '192.168.0.1' }),
      },
      found: ['error server-behind-router'],
      text: /gateway 192\.168\.0\.1/,
    },
    {
      what: 'a neighbour that does not answer',
      changes: { host: { neighbours: [failed] } },
      found: ['error neighbour-unresolved'],
      text: /xvsadm -e -t 172\.25\.254\.100:80 -r 192\.168\.0\.10:80 -w 0 -m/,
    },
    {
      what: 'a gateway that does not answer',
      changes: {
        host: {
          ...to({ gateway: '192.168.0.1' }),
          neighbours: [{ ...failed, address: '192.168.0.1' }],
        },
      },
      found: ['error neighbour-unresolved'],
      text: /192\.168\.0\.1, the gateway to it/,
    },
    {
      what: 'replies that do not come back, of a server that runs',
      changes: { daemon: { connections: waits(1), reachable: reachable(true) } },
      found: ['error server-gateway'],
      text: /ip route replace default via 192\.168\.0\.100/,
    },
    {
      what: 'a server that does not run',
      changes: { daemon: { connections: waits(1), reachable: reachable(false) } },
      found: ['error server-down'],
      text: /does not take a connection/,
    },
    {
      what: 'direct routing without an answer',
      changes: {
        setup: { services: [service([server({ method: 'dr' })])] },
        daemon: { connections: waits(2) },
      },
      found: ['warning server-unanswered'],
      text: /ip address show to 172\.25\.254\.100/,
    },
  ] satisfies Case[]) {
    check(one);
  }

  test('what is no fault of the server', () => {
    assert.deepEqual(wrong({ daemon: { connections: waits(9, 1) } }), []);
    const statistics = { ...server().statistics!, outPackets: 5 };
    const answered = { services: [service([server({ statistics })])] };
    // Clients that went away after the server's answer.
    assert.deepEqual(wrong({ setup: answered, daemon: { connections: waits(2) } }), []);
    assert.equal(wrong({ setup: answered, daemon: { connections: waits(3) } }).length, 1);
    const off = { services: [service([server({ weight: 0 })])] };
    assert.deepEqual(wrong({ setup: off, host: { neighbours: [failed] } }), []);
    assert.deepEqual(wrong({ host: to({ kind: 'local', interface: 'lo' }) }), []);
  });
});

describe('tunnels', () => {
  const tunnel = (changes = {}) => ({
    services: [service([server({ method: 'tunnel', ...changes })])],
  });
  const wide = (mtu: number) => ({ links: replaced('eth1', { mtu }) });
  const gue = { tunnel: { type: 'gue', port: 6080, checksum: 'nocsum' } } as const;

  test('1500 bytes and the outer headers have to fit', () => {
    const [finding] = wrong({ setup: tunnel() });
    assert.equal(finding?.severity, 'warning');
    assert.equal(finding?.check, 'tunnel-mtu');
    assert.match(finding!.remedy.join('\n'), /mtu 1520 .*\n.*\n.*advmss 1440/);
    assert.deepEqual(wrong({ setup: tunnel(), host: wide(1520) }), []);
    assert.match(wrong({ setup: tunnel(gue), host: wide(1520) })[0]!.remedy[0]!, /mtu 1532/);
    assert.deepEqual(wrong({ setup: tunnel(gue), host: wide(1532) }), []);
  });

  test('an error once packets were too long; what the path told counts', () => {
    const [first] = wrong({ setup: tunnel(), daemon: dropped('mtu_exceeded', 4, 4) });
    assert.equal(first?.severity, 'error');
    assert.match(first!.seen, /4 packets were too long \(mtu_exceeded\), 0 just now/);
    const after = state({ pathMtus: { [`${SERVER}:80`]: 1400 } });
    const [told] = wrong({ setup: tunnel(), host: wide(3000), daemon: { after } });
    assert.match(told!.seen, /MTU of the path, as an ICMP error .* told, is 1400/);
  });
});

describe('interfaces', () => {
  for (const one of [
    {
      what: 'none of that name',
      changes: { host: { links: base.links.filter(({ name }) => name !== 'eth0') } },
      found: ['error interface-missing'],
      text: /there are lo, eth1, xvs1/,
    },
    {
      what: 'down',
      changes: { host: { links: replaced('eth0', { up: false }) } },
      found: ['error interface-down'],
      text: /ip link set eth0 up/,
    },
    {
      what: 'an MTU that fits no chunk',
      changes: { host: { links: replaced('eth0', { mtu: 9000 }) } },
      found: ['error interface-mtu'],
      text: /mtu 3822/,
    },
    {
      what: 'a bond',
      changes: {
        host: {
          links: [...replaced('eth0', { kind: 'bond' }), link('eth8', { master: 'eth0' })],
        },
      },
      found: ['warning interface-bond'],
      text: /a bond of eth8/,
    },
    {
      what: 'a port of a bridge',
      changes: {
        host: { links: [...replaced('eth1', { master: 'br0' }), link('br0', { kind: 'bridge' })] },
      },
      found: ['warning interface-port'],
      text: /ip link set eth1 nomaster/,
    },
    {
      what: 'a macvlan',
      changes: { host: { links: replaced('eth1', { kind: 'macvlan', parent: 'eth5' }) } },
      found: ['warning interface-virtual'],
      text: /stands on: eth5/,
    },
    {
      what: 'VLANs with addresses on top',
      changes: {
        host: {
          links: [...base.links, link('eth1.7', { kind: 'vlan', parent: 'eth1' })],
          addresses: [
            ...base.addresses,
            { address: '10.7.0.1', family: 4, prefixLength: 24, interface: 'eth1.7' },
          ],
        },
      },
      found: ['warning interface-vlan'],
      text: /untagged on eth1/,
    },
    {
      what: 'generic XDP',
      changes: { daemon: { after: state({ xdpModes: { eth0: 'generic', eth1: 'native' } }) } },
      found: ['warning xdp-generic'],
      text: /XDP is generic/,
    },
    {
      what: 'its program is gone',
      changes: { host: { links: replaced('eth0', { xdp: 'none' }) } },
      found: ['error xdp-gone'],
      text: /no XDP program/,
    },
    {
      what: "somebody else's program, before xvsd starts",
      changes: { daemon: null, host: { links: replaced('eth1', { xdp: 'none' }) } },
      found: ['error xdp-taken'],
      text: /ip link set eth0 xdp off/,
    },
    {
      what: 'large receive offload',
      changes: {
        host: {
          devices: [
            device('eth0', { offloads: new Map([['large-receive-offload', true]]) }),
            device('eth1'),
          ],
        },
      },
      found: ['error offload-lro'],
      text: /ethtool -K eth0 lro off/,
    },
  ] satisfies Case[]) {
    check(one);
  }

  test('zero copy that the driver has and the sockets do not use', () => {
    const workers = state().workers.map((worker) => ({
      ...worker,
      sockets: worker.sockets.map((socket) => ({ ...socket, zeroCopy: false })),
    }));
    const found = wrong({ daemon: { after: state({ workers }) } });
    assert.deepEqual(
      found.map(({ check: name, subject }) => `${name} ${subject}`),
      ['zero-copy-unused eth0', 'zero-copy-unused eth1'],
    );
    const devices = ['eth0', 'eth1'].map((name) => device(name, { xdpFeatures: 3 }));
    assert.deepEqual(wrong({ host: { devices }, daemon: { after: state({ workers }) } }), []);
  });
});

describe('queues, workers and rings', () => {
  const devices = (changes: Parameters<typeof device>[1]) => ({
    devices: [device('eth0', changes), device('eth1')],
  });
  const [worker] = state().workers;
  for (const one of [
    {
      what: 'more queues than when xvsd started',
      changes: { host: devices({ rxQueues: 4, rssShares: null }) },
      found: ['error queues-unserved'],
      text: /queue\(s\) 2, 3 of 4 have no socket/,
    },
    {
      what: 'more workers wanted than queues',
      changes: {
        daemon: null,
        setup: { workers: { count: 4, cpus: [], mode: 'adaptive' } },
        host: { links: base.links.map((one) => ({ ...one, xdp: 'none' })) },
      },
      found: ['error queues-few', 'error queues-few'],
      text: /ethtool -L eth0 combined 4/,
    },
    {
      what: 'a queue without a share of the traffic',
      changes: { host: devices({ rssShares: [128, 0] }) },
      found: ['warning rss-uneven'],
      text: /leaves out queue\(s\) 1 of 2/,
    },
    {
      what: 'a short ring',
      changes: { host: devices({ rings: { rx: 256, rxMax: 4096 } }) },
      found: ['warning rings-short'],
      text: /ethtool -G eth0 rx 2048/,
    },
    {
      what: 'a worker on another NUMA node',
      changes: { host: devices({ numaNode: 1 }) },
      found: ['warning numa'],
      text: /NUMA node 1, and workers on CPU\(s\) 0, 1/,
    },
    {
      what: 'interrupts on the CPU of a worker that spins',
      changes: {
        setup: { workers: { count: 'auto', cpus: [], mode: 'busy' } },
        daemon: {
          after: state({
            workers: state().workers.map((one) => ({
              ...one,
              sockets: one.sockets.map((socket) => ({ ...socket, busyPoll: false })),
            })),
          }),
        },
      },
      found: ['warning interrupts', 'warning interrupts'],
      text: /smp_affinity_list/,
    },
    {
      what: 'a worker that was replaced, and one that is not pinned',
      changes: {
        daemon: {
          after: state({
            workers: [
              { ...worker!, restarts: 2 },
              { ...state().workers[1]!, pinning: 'EINVAL' },
            ],
          }),
        },
      },
      found: ['warning worker-restarted', 'warning worker-unpinned'],
      text: /died 2 time/,
    },
  ] satisfies Case[]) {
    check(one);
  }
});

describe('the host', () => {
  for (const one of [
    {
      what: 'strict reverse path filter',
      changes: { host: withSysctl('net.ipv4.conf.all.rp_filter', 1) },
      found: ['warning rp-filter'],
      text: /sysctl -w net\.ipv4\.conf\.all\.rp_filter=0/,
    },
    {
      what: 'it drops',
      changes: {
        host: { ...withSysctl('net.ipv4.conf.all.rp_filter', 1), reversePathDrops: 7 },
        daemon: { reversePathDropsBefore: 5 },
      },
      found: ['error rp-filter'],
      text: /dropped 7 packets since it started, 2 just now/,
    },
    {
      what: 'no memory may be locked',
      changes: {
        host: { kernel: { ...base.kernel, lockedMemoryMax: 8 << 20, mayLockMemory: false } },
      },
      found: ['error memlock'],
      text: /CAP_IPC_LOCK/,
    },
    {
      what: 'no overcommit',
      changes: { host: withSysctl('vm.overcommit_memory', 2) },
      found: ['warning overcommit'],
      text: /vm\.overcommit_memory=0/,
    },
    {
      what: 'a slow clock',
      changes: { host: { kernel: { ...base.kernel, clockSource: 'hpet' } } },
      found: ['warning clock-slow'],
      text: /hpet/,
    },
    {
      what: 'an old kernel',
      changes: { host: { kernel: { ...base.kernel, release: '5.10.0-8-amd64' } } },
      found: ['error kernel-old'],
      text: /5\.15/,
    },
    {
      what: 'policy rules and VRFs',
      changes: {
        host: { unmirrored: ['policy rule'], links: [...base.links, link('red', { kind: 'vrf' })] },
      },
      found: ['warning routing-unmirrored', 'warning routing-unmirrored'],
      text: /interface red is a VRF/,
    },
    {
      what: 'connections of the director to its own service',
      changes: { host: { socketPeers: [`tcp ${VIP}:80`, `tcp ${VIP}:80`, `tcp ${VIP}:81`] } },
      found: ['warning own-traffic'],
      text: /2 socket\(s\)/,
    },
  ] satisfies Case[]) {
    check(one);
  }
});
