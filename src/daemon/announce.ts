/** What the daemon says of itself and of its interfaces. */
import type { Config } from '../control/config';
import { packageVersion } from '../control/processMetrics';
import type { WorkerReady } from '../worker/contract';
import { log } from './log';
import type { Placement } from './placement';

export function announceStart(
  file: string,
  config: Config,
  placements: readonly Placement[],
): void {
  const version = packageVersion();
  const node = process.versions.node;
  const interfaces = config.interfaces.map(({ name }) => name);
  const cpus = placements.map(({ cpu }) => cpu);
  const { mode, warmUp } = config.workers;
  const manner = warmUp ? mode : `${mode}, no warm-up`;
  const { capacity } = config.connections;
  log(
    'info',
    'starting',
    `xvsd ${version}, Node.js ${node}, pid ${process.pid}, ${file}: ${interfaces.join(', ')}; ` +
      `${cpus.length} worker(s) on CPU ${cpus.join(', ')}, ${manner}; ${capacity} connections`,
    { version, node, pid: process.pid, config: file, interfaces, cpus, mode, warmUp, capacity },
  );
}

export function announceWorker(
  index: number,
  { cpu }: Pick<Placement, 'cpu'>,
  ready: WorkerReady,
): void {
  const { pinning, precedence, uncompiled, txMetadata } = ready;
  if (pinning !== '') {
    const message = `worker ${index}: not pinned: ${pinning}`;
    log('warn', 'worker_not_pinned', message, { worker: index, cpu, reason: pinning });
  }
  if (precedence !== '') {
    const message = `worker ${index}: not before the control plane: ${precedence}`;
    log('warn', 'worker_not_first', message, { worker: index, reason: precedence });
  }
  if (uncompiled.length > 0) {
    const message = `worker ${index}: V8 did not compile ${uncompiled.join(', ')}: it is slower`;
    log('warn', 'worker_not_compiled', message, { worker: index, functions: uncompiled });
  }
  const queues = ready.sockets.map((socket) => `${socket.interface}/${socket.queue}`);
  const zeroCopy = ready.sockets.every((socket) => socket.zeroCopy);
  log(
    'info',
    'worker_started',
    `worker ${index}: CPU ${cpu}, ${queues.join(' ')}, ${zeroCopy ? 'zero-copy' : 'copy'}, ` +
      `tx metadata ${txMetadata ? 'yes' : 'no (checksums in software)'}`,
    { worker: index, cpu, queues, zeroCopy, txMetadata },
  );
}

/** `trouble`: '' or why the control plane does not stand behind the workers. */
export function announcePrecedence(trouble: string): void {
  if (trouble === '') return;
  const message = `workers are not before the control plane: ${trouble}`;
  log('warn', 'worker_not_first', message, { reason: trouble });
}

export function announceReady(workers: number, socket: string): void {
  log('info', 'ready', `${workers} worker(s), admin socket ${socket}`, { workers, socket });
}

const downLinks = new Set<string>();

/** An interface went up or down; that it is up from the start goes without saying. */
export function announceLink(name: string, up: boolean): void {
  if (up !== downLinks.has(name)) return;
  if (up) {
    downLinks.delete(name);
    log('info', 'link_up', `interface ${name}`, { interface: name });
  } else {
    downLinks.add(name);
    log('warn', 'link_down', `interface ${name}`, { interface: name });
  }
}
