/** Queues, workers, CPUs and rings: whether every queue is served, and well. */
import type { DeviceFact, Facts } from './facts';
import { error, type Finding, ok, warning } from './finding';

/** Why it does not matter whether the card's hash is symmetric. */
const EITHER_QUEUE = 'requests and replies may come to different workers, each serves all';

export function checkQueues(facts: Facts): Finding[] {
  return [
    ...facts.host.devices.flatMap((device) => [
      ...checkServed(facts, device),
      ...checkSpread(device),
      ...checkRings(device),
      ...checkPlacement(facts, device),
    ]),
    ...checkWorkers(facts),
  ];
}

/** Numbers of the CPUs that workers are pinned to, or will be. */
function workerCpus({ setup, daemon }: Facts): number[] {
  const cpus = daemon === null ? setup.workers.cpus : daemon.after.workers.map(({ cpu }) => cpu);
  return cpus.filter((cpu) => cpu >= 0);
}

function checkServed(facts: Facts, { name, rxQueues, txQueues }: DeviceFact): Finding[] {
  if (facts.daemon === null) {
    const { count } = facts.setup.workers;
    const fewest = Math.min(rxQueues, txQueues);
    if (count !== 'auto' && count > fewest) {
      return [
        error(
          'queues-few',
          name,
          `it has ${fewest} queue(s), and workers.count is ${count}`,
          'Every worker needs a queue of every interface: xvsd does not start.',
          [
            `ethtool -L ${name} combined ${count}   # or: rx ${count} tx ${count}`,
            `or set workers.count to ${fewest}`,
          ],
        ),
      ];
    }
    return [ok('queues', name, `${rxQueues} receive and ${txQueues} transmit queue(s)`)];
  }
  const served = new Set(
    facts.daemon.after.workers.flatMap(({ sockets }) =>
      sockets.filter((socket) => socket.interface === name).map(({ queue }) => queue),
    ),
  );
  const without = Array.from({ length: rxQueues }, (_, queue) => queue).filter(
    (queue) => !served.has(queue),
  );
  if (without.length === 0) return [ok('queues', name, `all ${rxQueues} queue(s) are served`)];
  return [
    error(
      'queues-unserved',
      name,
      `queue(s) ${without.join(', ')} of ${rxQueues} have no socket; there were fewer at the start`,
      "What the card puts there goes to the host's stack, which resets connections in their midst.",
      [
        `ethtool -L ${name} combined ${served.size}   # or: rx ${served.size} tx ${served.size}`,
        'or restart xvsd',
      ],
    ),
  ];
}

/** Which worker a packet comes to does not matter to the packet, only that all get some. */
function checkSpread({ name, rssShares }: DeviceFact): Finding[] {
  if (rssShares === null || rssShares.length < 2) return [];
  const idle = rssShares.flatMap((share, queue) => (share === 0 ? [queue] : []));
  if (idle.length === 0) {
    return [ok('rss', name, `spreads over ${rssShares.length} queues; ${EITHER_QUEUE}`)];
  }
  return [
    warning(
      'rss-uneven',
      name,
      `its indirection table leaves out queue(s) ${idle.join(', ')} of ${rssShares.length}`,
      'The workers of these queues have nothing to do, and the others more.',
      [`ethtool -X ${name} equal ${rssShares.length}`],
    ),
  ];
}

function checkRings({ name, rings }: DeviceFact): Finding[] {
  if (rings === null || rings.rxMax === 0) return [];
  if (rings.rx * 2 > rings.rxMax || rings.rx >= 1024) {
    return [ok('rings', name, `receive ring of ${rings.rx}, at most ${rings.rxMax}`)];
  }
  return [
    warning(
      'rings-short',
      name,
      `its receive ring has ${rings.rx} entries of ${rings.rxMax}`,
      'A pause of a worker (another process on its CPU) longer than the ring lasts costs packets.',
      [`ethtool -G ${name} rx ${Math.min(rings.rxMax, 2048)}`],
    ),
  ];
}

function checkPlacement(facts: Facts, device: DeviceFact): Finding[] {
  const cpus = workerCpus(facts);
  const { name, numaNode, interrupts } = device;
  const found: Finding[] = [];
  const away =
    numaNode === null || numaNode < 0
      ? []
      : cpus.filter((cpu) => (facts.host.cpuNodes.get(cpu) ?? numaNode) !== numaNode);
  if (away.length > 0) {
    found.push(
      warning(
        'numa',
        name,
        `it hangs on NUMA node ${numaNode}, and workers on CPU(s) ${away.join(', ')} of another`,
        'Every packet and every connection crosses the link between the sockets.',
        [
          `workers: { cpus: [...] } with CPUs of node ${numaNode}`,
          `cat /sys/devices/system/node/node${numaNode}/cpulist`,
        ],
      ),
    );
  }
  if (facts.setup.workers.mode !== 'busy') return found;
  const busyPolled = (facts.daemon?.after.workers ?? []).some(({ sockets }) =>
    sockets.some((socket) => socket.interface === name && socket.busyPoll),
  );
  const shared = interrupts.filter(
    ({ cpus: on }) => on.length > 0 && on.every((cpu) => cpus.includes(cpu)),
  );
  const numbers = shared.map(({ number }) => number).join(', ');
  if (shared.length > 0 && !busyPolled) {
    found.push(
      warning(
        'interrupts',
        name,
        `interrupt(s) ${numbers} come to CPUs of workers that spin`,
        'In mode busy a worker and the receive work of the kernel take the CPU from each other.',
        [
          `echo CPUS > /proc/irq/${shared[0]!.number}/smp_affinity_list   # other CPUs`,
          'or workers: { mode: adaptive }',
        ],
      ),
    );
  }
  return found;
}

function checkWorkers(facts: Facts): Finding[] {
  const { daemon, setup } = facts;
  if (daemon === null) return [];
  const { workers } = daemon.after;
  const found = workers.flatMap((worker, index): Finding[] => {
    const subject = `worker ${index}`;
    if (worker.pinning !== '') {
      return [
        warning(
          'worker-unpinned',
          subject,
          `could not be pinned: ${worker.pinning}`,
          'The kernel moves it between CPUs, and others run where it does.',
          ['workers: { cpus: [...] } with CPUs that xvsd may use (systemd: AllowedCPUs=)'],
        ),
      ];
    }
    if (worker.restarts === 0) return [ok('worker', subject, `runs on CPU ${worker.cpu}`)];
    return [
      warning(
        'worker-restarted',
        subject,
        `died ${worker.restarts} time(s) and was replaced`,
        'Its queues went to the host meanwhile. It is a fault in xvs: its log says where.',
        ["journalctl -u xvsd | grep 'worker'"],
      ),
    ];
  });
  const cpus = workerCpus(facts);
  const twice = [...new Set(cpus.filter((cpu, at) => cpus.indexOf(cpu) !== at))];
  if (twice.length > 0) {
    found.push(
      warning(
        'workers-crowded',
        `CPU ${twice.join(', ')}`,
        'is that of more than one worker',
        'They take turns on it.',
        ['workers: { cpus: [...] } with a CPU for each'],
      ),
    );
  }
  const queues = Math.min(...facts.host.devices.map(({ rxQueues }) => rxQueues));
  if (setup.workers.count === 'auto' && queues > workers.length && Number.isFinite(queues)) {
    found.push(ok('workers', 'workers', `${workers.length} for ${queues} queues: as many as CPUs`));
  }
  return found;
}
