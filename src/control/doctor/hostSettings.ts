/** Kernel, its settings, memory and clock. */
import type { Facts } from './facts';
import { error, type Finding, ok, warning } from './finding';
import { serversOf } from './names';

const KERNEL_MIN = [5, 15] as const;
/** Read without a system call. */
const FAST_CLOCKS = ['tsc', 'kvm-clock', 'hyperv_clocksource_tsc_page', 'arch_sys_counter'];
const NO_METADATA = 'no (before 6.8): workers compute unfinished checksums';
const LOCKED_MEMORY_NEEDED = 64 * 1024 * 1024;
const NEVER_OVERCOMMIT = 2;
const STRICT = 1;

export function checkHost(facts: Facts): Finding[] {
  return [
    ...checkKernel(facts),
    ...checkMemory(facts),
    ...checkForwarding(facts),
    ...checkReversePath(facts),
    ok(
      'conntrack',
      'this host',
      'connection tracking and netfilter do not matter to services: their packets do not meet it',
    ),
  ];
}

function checkKernel({ host: { kernel } }: Facts): Finding[] {
  const { release, afXdp, txMetadata, preferBusyPoll, clockSource } = kernel;
  const [major = 0, minor = 0] = release.split('.').map(Number);
  const found: Finding[] = [];
  if (!afXdp) {
    found.push(
      error(
        'kernel-af-xdp',
        release,
        'this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)',
        'xvsd cannot start.',
        ['run a kernel with CONFIG_XDP_SOCKETS=y'],
      ),
    );
  } else if (major < KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor < KERNEL_MIN[1])) {
    found.push(
      error('kernel-old', release, 'Linux 5.15 or later is needed', 'xvsd cannot start.', [
        'run a later kernel',
      ]),
    );
  } else {
    const features = [
      `tx metadata ${txMetadata ? 'yes' : NO_METADATA}`,
      `preferred busy polling ${preferBusyPoll ? 'yes' : 'no'}`,
    ];
    found.push(ok('kernel', release, features.join(', ')));
  }
  found.push(
    FAST_CLOCKS.includes(clockSource) || clockSource === ''
      ? ok('clock', clockSource || 'clock', 'is read without a system call')
      : warning(
          'clock-slow',
          clockSource,
          'the clock source is one that only the kernel can read',
          'Workers read the clock with each burst, which takes about a microsecond then.',
          [
            'cat /sys/devices/system/clocksource/clocksource0/available_clocksource',
            'echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource',
          ],
        ),
  );
  return found;
}

function checkMemory({ host: { kernel, sysctls } }: Facts): Finding[] {
  const { lockedMemoryMax, mayLockMemory } = kernel;
  const found: Finding[] = [];
  if (!mayLockMemory && lockedMemoryMax !== null && lockedMemoryMax < LOCKED_MEMORY_NEEDED) {
    found.push(
      error(
        'memlock',
        'RLIMIT_MEMLOCK',
        `${lockedMemoryMax} bytes may be locked, and xvsd has no CAP_IPC_LOCK`,
        'The kernel refuses the UMEM with ENOBUFS or ENOMEM.',
        ['systemd unit: AmbientCapabilities=CAP_IPC_LOCK, or LimitMEMLOCK=infinity'],
      ),
    );
  } else found.push(ok('memlock', 'RLIMIT_MEMLOCK', 'does not limit the UMEM'));
  found.push(
    sysctls.get('vm.overcommit_memory') === NEVER_OVERCOMMIT
      ? warning(
          'overcommit',
          'vm.overcommit_memory',
          'is 2: the kernel gives no more than it has',
          'Tables reserve gigabytes of address space, and only used pages take memory; with 2 ' +
            'all of it counts, and xvsd may not start.',
          ['sysctl -w vm.overcommit_memory=0'],
        )
      : ok('overcommit', 'vm.overcommit_memory', 'lets tables reserve what they may need'),
  );
  return found;
}

function checkForwarding(facts: Facts): Finding[] {
  const methods = ['nat'];
  const families = new Set(
    serversOf(facts)
      .filter(({ server }) => methods.includes(server.method))
      .map(({ server }) => server.family),
  );
  return [...families].map((family) => {
    const name = family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
    if (facts.host.sysctls.get(name) !== 0) return ok('forwarding', name, 'is on');
    return warning(
      'forwarding-off',
      name,
      'is 0, and there are NAT real servers',
      'Balanced traffic does not need it, but the real servers have this host as their gateway: ' +
        'what they send of their own (updates, name service, ping) goes through its stack and ' +
        'ends here.',
      [`sysctl -w ${name}=1`],
    );
  });
}

/** Frames that go back to the host come in by the TAP, where no route leads to their sender. */
function checkReversePath({ host, daemon }: Facts): Finding[] {
  const all = host.sysctls.get('net.ipv4.conf.all.rp_filter') ?? 0;
  const own =
    daemon === null ? 0 : (host.sysctls.get(`net.ipv4.conf.${daemon.after.tap}.rp_filter`) ?? 0);
  if (Math.max(all, own) !== STRICT) {
    return [ok('rp-filter', 'net.ipv4.conf.all.rp_filter', `is ${all}: it lets the TAP device in`)];
  }
  const passes =
    daemon === null ? 0 : Object.values(daemon.after.passes).reduce((sum, count) => sum + count, 0);
  const grown = daemon === null ? 0 : host.reversePathDrops - daemon.reversePathDropsBefore;
  const make = grown > 0 || passes > 0 ? error : warning;
  const device = daemon === null ? 'the TAP device' : daemon.after.tap;
  const name = all === STRICT ? 'net.ipv4.conf.all.rp_filter' : `net.ipv4.conf.${device}.rp_filter`;
  return [
    make(
      'rp-filter',
      name,
      `is 1; ${passes} frame(s) went back to the host, whose filter dropped ` +
        `${host.reversePathDrops} packets since it started` +
        (grown > 0 ? `, ${grown} just now` : ''),
      `What a worker gives back to the host comes in by ${device}, to which no route leads: the ` +
        'filter drops it. So the director as a real server of its own, what real servers send of ' +
        'their own, and ping to a service by mark do not work.',
      [
        `sysctl -w ${name}=0`,
        ...(all === STRICT
          ? ['sysctl -w net.ipv4.conf.INTERFACE.rp_filter=1   # keeps it on others']
          : []),
      ],
    ),
  ];
}
