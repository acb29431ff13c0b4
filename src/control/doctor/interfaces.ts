/** Served interfaces: what their drivers can, and what they are built on. */
import type { DeviceFact, Facts, LinkFact } from './facts';
import { error, type Finding, ok, warning } from './finding';
import { linkNamed } from './names';

/** NETDEV_XDP_ACT_* of linux/netdev.h. */
const XDP_BASIC = 1;
const XDP_ZERO_COPY = 8;
/** A chunk of 4096 bytes less headroom, Ethernet header and VLAN tag. */
const MTU_MAX = 4096 - 256 - 18;

const WITHOUT_XDP = new Set([
  'bridge',
  'vlan',
  'macvlan',
  'ipvlan',
  'vxlan',
  'ipip',
  'gre',
  'dummy',
]);

export function checkInterfaces(facts: Facts): Finding[] {
  return facts.setup.interfaces.flatMap(({ name, zeroCopy }) => {
    const link = linkNamed(facts, name);
    if (link === undefined) {
      const known = facts.host.links.map((one) => one.name).join(', ');
      return [
        error(
          'interface-missing',
          name,
          `there is no such interface; there are ${known}`,
          'xvsd serves nothing on it, and does not start without it.',
          ['correct interfaces in the config file, or: ip link add ...'],
        ),
      ];
    }
    const device = facts.host.devices.find((one) => one.name === name);
    return [
      ...checkLink(link),
      ...checkKind(facts, link),
      ...(device === undefined
        ? []
        : [
            checkMode(facts, link, device),
            checkZeroCopy(facts, device, zeroCopy),
            ...checkOffloads(device),
          ]),
    ];
  });
}

function checkLink({ name, up, mtu }: LinkFact): Finding[] {
  if (!up) {
    return [
      error(
        'interface-down',
        name,
        'it is down, or has no carrier',
        'Nothing is received and nothing is sent on it.',
        [`ip link set ${name} up`],
      ),
    ];
  }
  if (mtu <= MTU_MAX) return [ok('interface', name, `up, MTU ${mtu}`)];
  return [
    error(
      'interface-mtu',
      name,
      `its MTU is ${mtu}`,
      `A frame has to fit a chunk of the UMEM: up to ${MTU_MAX} are allowed, and xvsd does not ` +
        'start.',
      [`ip link set ${name} mtu ${MTU_MAX}`],
    ),
  ];
}

function checkKind(facts: Facts, link: LinkFact): Finding[] {
  const { name, kind, master } = link;
  const found: Finding[] = [];
  if (kind === 'bond') {
    const ports = facts.host.links.filter((one) => one.master === name).map((one) => one.name);
    found.push(
      warning(
        'interface-bond',
        name,
        `it is a bond of ${ports.join(', ') || 'nothing'}`,
        'A bond has no queues of its own: AF_XDP on it is neither native nor zero-copy, whatever ' +
          'its ports can.',
        [
          'one link that is wide enough, or ECMP by a routing protocol over single interfaces',
          `or, slow but safe: { name: ${name}, xdp: generic, zeroCopy: off }`,
        ],
      ),
    );
  } else if (WITHOUT_XDP.has(kind)) {
    found.push(
      warning(
        'interface-virtual',
        name,
        `it is a ${kind}, whose XDP is generic only`,
        'Every frame is made an skb and copied before a worker sees it; what XDP of the ' +
          'interface below it takes never comes here.',
        [`serve the interface that it stands on${link.parent === '' ? '' : `: ${link.parent}`}`],
      ),
    );
  }
  const above = linkNamed(facts, master);
  if (above !== undefined && above.kind !== 'vrf') {
    found.push(
      warning(
        'interface-port',
        name,
        `it is a port of ${master}, a ${above.kind || 'device'}`,
        `Addresses and routes are ${master}'s, which xvs does not serve: what leaves by it is ` +
          'left to the host (unserved_interface), without NAT on the way back.',
        [`ip link set ${name} nomaster, and give ${name} the addresses of ${master}`],
      ),
    );
  }
  const tagged = facts.host.links.filter((one) => one.parent === name && one.kind === 'vlan');
  if (tagged.length > 0) {
    const names = tagged.map((one) => one.name).join(', ');
    const used = facts.host.addresses.some((one) =>
      tagged.some((vlan) => vlan.name === one.interface),
    );
    const text = `it carries the VLANs ${names}`;
    found.push(
      used
        ? warning(
            'interface-vlan',
            name,
            text,
            "Frames with a VLAN tag are the host's: services on those VLANs are not balanced.",
            [
              `have the switch hand over the services' VLAN untagged on ${name}`,
              'where the services are not on those VLANs, nothing is to be done',
            ],
          )
        : ok('interface-vlan', name, text),
    );
  }
  return found;
}

function checkMode(
  facts: Facts,
  { name, xdp }: LinkFact,
  { driver, xdpFeatures }: DeviceFact,
): Finding {
  const mode = facts.daemon?.after.xdpModes[name];
  const canNative = xdpFeatures === null || (xdpFeatures & XDP_BASIC) !== 0;
  if (facts.daemon === null && xdp !== 'none') {
    return error(
      'xdp-taken',
      name,
      `another XDP program (${xdp}) is attached to it`,
      'An interface has room for one program: xvsd cannot attach its own.',
      [`ip link set ${name} xdp off   # unless somebody needs it`, 'bpftool net show'],
    );
  }
  if (facts.daemon !== null && xdp === 'none') {
    return error(
      'xdp-gone',
      name,
      'no XDP program is attached to it any more',
      "All its frames go to the host's stack, which knows no service.",
      ['systemctl restart xvsd'],
    );
  }
  const isGeneric = mode === 'generic' || (mode === undefined && !canNative);
  if (!isGeneric) return ok('xdp', name, `${driver}: XDP is native`);
  return warning(
    'xdp-generic',
    name,
    `XDP is generic${canNative ? '' : `: the driver ${driver} has none of its own`}`,
    'Each frame becomes an skb before XDP sees it, which costs a multiple of native XDP.',
    [
      canNative
        ? `{ name: ${name}, xdp: native } says at start why native is not possible`
        : 'use an interface whose driver has it (mlx5, ice, i40e, ixgbe, igc, ena, virtio_net)',
    ],
  );
}

function checkZeroCopy(
  facts: Facts,
  { name, driver, xdpFeatures }: DeviceFact,
  wanted: 'auto' | 'on' | 'off',
): Finding {
  const sockets = (facts.daemon?.after.workers ?? []).flatMap((worker) =>
    worker.sockets.filter((socket) => socket.interface === name),
  );
  const used = sockets.length > 0 && sockets.every(({ zeroCopy }) => zeroCopy);
  if (used) return ok('zero-copy', name, `${driver}: its sockets are zero-copy`);
  const can = xdpFeatures !== null && (xdpFeatures & XDP_ZERO_COPY) !== 0;
  if (!can && wanted === 'on') {
    return error(
      'zero-copy',
      name,
      `zeroCopy is on, and the driver ${driver} has no zero copy`,
      'xvsd does not start.',
      [`{ name: ${name}, zeroCopy: auto }`],
    );
  }
  if (!can) {
    const says =
      xdpFeatures === null ? 'the kernel does not say whether it has zero copy' : 'copies';
    return ok('zero-copy', name, `driver ${driver}: ${says}`);
  }
  if (sockets.length === 0) return ok('zero-copy', name, `driver ${driver} has zero copy`);
  const because = facts.setup.interfaces
    .filter((one) => one.zeroCopy === 'off')
    .map((one) => one.name);
  return warning(
    'zero-copy-unused',
    name,
    `the driver ${driver} has zero copy; its sockets copy`,
    'A UMEM is shared by all interfaces, and one that cannot, or must not, decides for all.',
    [
      because.length > 0
        ? `take zeroCopy: off from ${because.join(', ')} in the config file`
        : 'xvsd says at start which interface is in the way',
    ],
  );
}

function checkOffloads({ name, offloads }: DeviceFact): Finding[] {
  if (offloads.get('large-receive-offload') === true) {
    return [
      error(
        'offload-lro',
        name,
        'large receive offload is on',
        'The card joins packets to ones longer than any MTU, which must not be forwarded; most ' +
          'drivers refuse XDP with it.',
        [`ethtool -K ${name} lro off`],
      ),
    ];
  }
  if (offloads.get('rx-gro-hw') === true) {
    return [
      warning(
        'offload-gro-hw',
        name,
        'the card itself joins received packets (rx-gro-hw)',
        'Packets longer than a chunk are dropped before XDP.',
        [`ethtool -K ${name} rx-gro-hw off`],
      ),
    ];
  }
  if (offloads.size === 0) return [ok('offloads', name, 'not known: ethtool -k says nothing')];
  return [ok('offloads', name, 'fit; checksum offloads and GRO may stay as they are')];
}
