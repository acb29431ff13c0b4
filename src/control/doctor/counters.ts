/** The daemon's own counters: what grows between two samples, and what is nearly full. */
import { DROP_REASONS, PASS_REASONS } from '../../table/counter';
import { DROP_MEANINGS, PASS_MEANINGS } from '../reasons';
import type { DaemonFacts, Facts } from './facts';
import { error, type Finding, ok, warning } from './finding';
import { DROP_CAUSES, PASS_CAUSES, type ReasonCause } from './reasonCauses';
import type { SocketState } from './state';

const TABLE_NEARLY_FULL = 0.9;
const UMEM_NEARLY_EMPTY = 0.02;

export function checkCounters({ daemon, host }: Facts): Finding[] {
  if (daemon === null) return [];
  const tap = host.links.find(({ name }) => name === daemon.after.tap);
  return [
    ...DROP_REASONS.map((reason) =>
      growth(
        'drop',
        reason,
        DROP_MEANINGS[reason],
        DROP_CAUSES[reason],
        daemon.before.drops,
        daemon.after.drops,
      ),
    ),
    ...PASS_REASONS.map((reason) =>
      growth(
        'pass',
        reason,
        PASS_MEANINGS[reason],
        PASS_CAUSES[reason],
        daemon.before.passes,
        daemon.after.passes,
      ),
    ),
    checkTable(daemon),
    ...checkChunks(daemon),
    ...checkSockets(daemon),
    tap?.up === true
      ? ok('tap', daemon.after.tap, 'takes frames for the host')
      : error(
          'tap',
          daemon.after.tap,
          tap === undefined ? 'the device is gone' : 'the device is down',
          "Frames for the host's stack are dropped (host_refused): ICMP to services by mark, " +
            'what real servers send of their own.',
          [tap === undefined ? 'systemctl restart xvsd' : `ip link set ${daemon.after.tap} up`],
        ),
  ];
}

function growth(
  kind: 'drop' | 'pass',
  reason: string,
  meaning: string,
  { severity, cause, remedy }: ReasonCause,
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): Finding {
  const total = after[reason] ?? 0;
  const grown = total - (before[reason] ?? 0);
  const check = `${kind}-${reason.replaceAll('_', '-')}`;
  if (grown <= 0 || severity === 'usual') return ok(check, reason, `${total} since the start`);
  const make = severity === 'error' ? error : warning;
  const done = kind === 'drop' ? 'dropped' : 'given to the host';
  return make(
    check,
    reason,
    `${grown} frame(s) ${done} just now, ${total} since the start`,
    `${meaning} ${cause}`,
    remedy,
  );
}

function checkTable({ after: { connections } }: DaemonFacts): Finding {
  const { entries, capacity } = connections;
  const seen = `${entries} of ${capacity} connections`;
  if (entries < capacity * TABLE_NEARLY_FULL) return ok('table', 'connection table', seen);
  return warning(
    'table',
    'connection table',
    seen,
    'Once it is full, new clients are dropped (table_full).',
    DROP_CAUSES.table_full.remedy,
  );
}

function checkChunks({ after }: DaemonFacts): Finding[] {
  return after.workers.map(({ chunks, freeChunks }, index) => {
    const seen = `${freeChunks} of ${chunks} chunks are free`;
    if (chunks === 0 || freeChunks >= chunks * UMEM_NEARLY_EMPTY)
      return ok('umem', `worker ${index}`, seen);
    return warning(
      'umem',
      `worker ${index}`,
      seen,
      'With none free the card has nowhere to put frames. Chunks are held by transmit rings that ' +
        'do not drain, and by frames that wait for a neighbour.',
      [
        'ip -s link show   # does each served interface transmit?',
        'xvs doctor        # is a neighbour unresolved?',
      ],
    );
  });
}

/** Counters of sockets whose growth says something, and what. */
const SOCKET_CAUSES: Readonly<Record<string, { why: string; remedy: readonly string[] }>> = {
  kernelRxDropped: {
    why: 'The kernel could not hand frames over: a worker is too slow, or frames exceed a chunk.',
    remedy: [
      'more queues and workers: ethtool -L INTERFACE combined N, workers.count',
      'CPUs of their own for workers: workers.cpus',
    ],
  },
  kernelRxRingFull: {
    why: 'A worker does not keep up: more comes in than it can do, or another process has its CPU.',
    remedy: [
      'more queues and workers: ethtool -L INTERFACE combined N, workers.count',
      'CPUs of their own for workers: workers.cpus',
    ],
  },
  fillStarved: {
    why: 'No chunk was free for receiving: transmit rings do not drain.',
    remedy: ['ip -s link show   # does each served interface transmit?'],
  },
  txRingFull: {
    why: 'More is to be sent than the interface takes; what does not fit is dropped.',
    remedy: [
      'ip -s link show   # its rate against the speed of the link',
      'ethtool -S INTERFACE | grep -i tx',
    ],
  },
  txWakeupFailures: {
    why: 'The kernel refused again and again to send.',
    remedy: ['ip -s link show   # is the interface up?'],
  },
};

function totals(state: DaemonFacts['after'], counter: string): Map<string, number> {
  const sums = new Map<string, number>();
  const add = ({ interface: name, counters }: SocketState): void => {
    sums.set(name, (sums.get(name) ?? 0) + (counters[counter] ?? 0));
  };
  for (const { sockets } of state.workers) sockets.forEach(add);
  return sums;
}

function checkSockets({ before, after }: DaemonFacts): Finding[] {
  return Object.entries(SOCKET_CAUSES).flatMap(([counter, { why, remedy }]) => {
    const then = totals(before, counter);
    return [...totals(after, counter)].flatMap(([name, total]) => {
      const grown = total - (then.get(name) ?? 0);
      if (grown <= 0) return [];
      return [
        warning(`socket-${counter}`, name, `${counter} grew by ${grown}, to ${total}`, why, remedy),
      ];
    });
  });
}
