/** The exporter without a daemon around it: a director's tables, and workers as they would be. */
import type { Director } from '#xvs/control/director';
import { NO_LOG } from '#xvs/control/log/metrics';
import { createExporter, type Exporter, type WorkerState } from '#xvs/control/metrics';
import { addon } from '#xvs/port/addon';
import { CONTROL_WORDS } from '#xvs/worker/contract';

/** A worker with a socket on each of `interfaces`, which has counted 1, 2, 3 ... */
export function workerState(interfaces: readonly string[]): WorkerState {
  const sockets = interfaces.map((name, queue) => {
    const counters = new SharedArrayBuffer(addon.SOCKET_COUNTERS.length * 8);
    new Float64Array(counters).forEach((_, at, all) => {
      all[at] = at + 1;
    });
    return {
      ...{ interface: name, queue, fd: -1, zeroCopy: true, needWakeup: true, busyPoll: false },
      ...{ maxTxSkbBudget: 0, counters },
    };
  });
  return {
    control: new Int32Array(CONTROL_WORDS),
    ready: {
      kind: 'ready',
      threadId: 1,
      eventFd: -1,
      txMetadata: true,
      pinning: '',
      precedence: '',
      uncompiled: [],
      sockets,
    },
    alive: true,
    restarts: 0,
    data: { cpu: 1, mode: 'adaptive', ringSize: 2048 },
  };
}

export function exporterOf(director: Director, workers: readonly WorkerState[] = []): Exporter {
  return createExporter({
    director,
    // Its counters are all that is asked of it: no program is loaded.
    program: { verdicts: () => addon.XDP_VERDICTS.map(() => 0) },
    verdictNames: addon.XDP_VERDICTS,
    socketCounters: addon.SOCKET_COUNTERS,
    interfaces: ['eth0', 'eth1'],
    xdpModes: new Map([['eth0', 'native']]),
    workers,
    log: NO_LOG,
    nowTick: () => 0,
  });
}

export async function textOf(pieces: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece;
  return text;
}
