/** Contenders that are not ours: the kernel's NAT, and forwarders that do less than a director. */
import { commandSync } from '#xvs/lab/process';
import { compileObject, compileProgram } from '../support/compile';
import { isInstalled } from '../support/install';
import {
  type Contender,
  type Expected,
  expectedOf,
  type Running,
  stopChild,
  UNTOUCHED,
} from './contender';
import type { DirectorPlace } from './director';
import { ADDRESSES, type Family, type Mode, SERVICE_PORT } from './settings';

const START_MS = 20_000;
/** Chunks for both fill rings, and as many again for frames on their way. */
const CHUNKS_PER_RING_ENTRY = 4;

/** Has the kernel translate; the rule goes with what the result's `stop` does. */
export async function startNftables(
  lab: Pick<DirectorPlace, 'ends' | 'writeFile'>,
  protocol: 'udp' | 'tcp',
  family: Family,
): Promise<Running> {
  const table = family === 4 ? 'ip' : 'ip6';
  const { virtual, server } = ADDRESSES[family];
  const { host } = lab.ends.front;
  const rules = lab.writeFile(
    'rules.nft',
    `table ${table} xvsbench {
      chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        ${table} daddr ${virtual} ${protocol} dport ${SERVICE_PORT} dnat to ${server}
      }
    }\n`,
  );
  commandSync(host.inside(['nft', '-f', rules]));
  return {
    pids: [],
    async stop() {
      commandSync(host.inside(['nft', 'delete', 'table', table, 'xvsbench']));
      return '';
    },
  };
}

/** NAT by the kernel. */
export function nftables(family: Family): Contender {
  return {
    name: `nftables IPv${family}`,
    family,
    mode: 'kernel',
    expected: expectedOf('nat', family),
    packages: [],
    missing: () => null,
    start: (lab) => startNftables(lab, 'udp', family),
  };
}

/** A forwarder in C, on AF_XDP sockets as ours are. */
export function cForwarder(mode: Mode): Contender {
  return inC('c-forwarder', mode, UNTOUCHED, []);
}

/** The same, and NAT: nat.h. */
export function cDirector(mode: Mode): Contender {
  const { virtual, server } = ADDRESSES[4];
  const service = [virtual, server, String(SERVICE_PORT)];
  return inC('c-director', mode, expectedOf('nat', 4), service);
}

function inC(name: string, mode: Mode, expected: Expected, service: readonly string[]): Contender {
  return {
    name: `${name} IPv4`,
    family: 4,
    mode,
    expected,
    packages: [],
    missing: () => null,
    async start(lab) {
      const { client, front, back, server } = lab.ends;
      const { ring } = lab.settings;
      const child = lab.spawn('front', 'contenderCpu', name, [
        compileProgram('bench/wire/forwarder.c', '-lbpf'),
        compileObject('bench/wire/forwarder.bpf.c'),
        ...[front.interface, client.mac, front.mac],
        ...[back.interface, server.mac, back.mac],
        mode === 'busy' ? 'busy' : 'poll',
        String(ring),
        String(ring * CHUNKS_PER_RING_ENTRY),
        ...service,
      ]);
      await child.line(START_MS);
      return {
        pids: [child.pid],
        async stop() {
          await stopChild(child);
          return child.line(START_MS);
        },
      };
    },
  };
}

export const xdpRedirect: Contender = {
  name: 'xdp-redirect IPv4',
  family: 4,
  mode: 'kernel',
  expected: UNTOUCHED,
  packages: [],
  missing: () => null,
  async start(lab) {
    const { client, front, back, server } = lab.ends;
    const child = lab.spawn('front', 'contenderCpu', 'xdp-redirect', [
      compileProgram('bench/wire/redirect.c', '-lbpf'),
      compileObject('bench/wire/redirect.bpf.c'),
      ...[front.interface, client.mac, front.mac],
      ...[back.interface, server.mac, back.mac],
    ]);
    await child.line(START_MS);
    return {
      pids: [],
      async stop() {
        await stopChild(child);
        return '';
      },
    };
  },
};

const TESTPMD = 'dpdk-testpmd';

/** DPDK's forwarder on its AF_XDP driver: MAC addresses, nothing else, and it spins. */
export const dpdkTestpmd: Contender = {
  name: `${TESTPMD} IPv4`,
  family: 4,
  mode: 'busy',
  expected: UNTOUCHED,
  packages: ['dpdk-dev', '^librte-net-af-xdp[0-9]+$'],
  missing: () => (isInstalled(TESTPMD) ? null : `${TESTPMD} is not installed`),
  async start(lab) {
    const { client, front, back, server } = lab.ends;
    const { contenderCpu, ring } = lab.settings;
    const device = (number: number, name: string) => [
      '--vdev',
      `net_af_xdp${number},iface=${name},start_queue=0,queue_count=1,busy_budget=0`,
    ];
    const child = lab.spawn('front', 'contenderCpu', TESTPMD, [
      ...['stdbuf', '-oL', TESTPMD, '--lcores', `0@${contenderCpu},1@${contenderCpu}`],
      ...['--no-pci', '--no-huge', '-m', '256', '--no-telemetry', '--no-shconf'],
      ...device(0, front.interface),
      ...device(1, back.interface),
      '--',
      ...[
        '--no-mlockall',
        '--total-num-mbufs=32768',
        '--nb-cores=1',
        `--rxd=${ring}`,
        `--txd=${ring}`,
        '--burst=128',
      ],
      ...['--forward-mode=mac', `--eth-peer=0,${client.mac}`, `--eth-peer=1,${server.mac}`],
    ]);
    let line = '';
    do line = await child.line(START_MS);
    while (!line.includes('packets/burst'));
    return {
      pids: [child.pid],
      async stop() {
        await stopChild(child);
        return '';
      },
    };
  },
};
