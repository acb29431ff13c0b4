/**
 * A worker thread: pins itself, warms up, registers its UMEM, opens its sockets, has its own code
 * compiled, tells the main thread, and runs its loop until it is told to stop. Nothing is allocated
 * once the loop runs.
 */
import { getPriority, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import {
  addon,
  type Event,
  type Umem as KernelUmem,
  type Poller,
  SOCKET_COUNTERS,
  type Tap,
  type XskSocket,
} from '../port/addon';
import { BURST_MAX, type Port, TX_WORDS } from '../port/port';
import { TapHost } from '../port/tapHost';
import { Umem } from '../port/umem';
import { XdpPort } from '../port/xdpPort';
import { attachTables } from '../table/memory';
import {
  CONTROL_CHUNKS,
  CONTROL_FREE_CHUNKS,
  CONTROL_STOP,
  type SocketReport,
  type WorkerData,
  type WorkerInterface,
  type WorkerReady,
} from './contract';
import { collectGarbage, keepStep, tuneEngine } from './engine';
import { Lockstep } from './lockstep';
import { Loop } from './loop';
import { Pipeline } from './pipeline';
import { joinPlainly, Specializer } from './specialize';
import { Stopwatch } from './stopwatch';
import { Tracer } from './trace';
import { warmUp } from './warmUp';

/** Chunks beyond what rings can hold: waiting frames, a burst in hand. */
const SPARE_CHUNKS = 1024;

interface OpenPort {
  readonly port: XdpPort;
  readonly reports: readonly SocketReport[];
}

function pin(cpu: number): string {
  if (cpu < 0) return '';
  try {
    addon.pinThread(cpu);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

/** Back to where the process began, before the control plane; '' or why that is not allowed. */
function takePrecedence(nice: number): string {
  try {
    if (getPriority() !== nice) setPriority(nice);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

function createUmem(data: WorkerData): { umem: Umem; kernel: KernelUmem } {
  const sockets = data.interfaces.reduce((sum, { queues }) => sum + queues.length, 0);
  const chunks = sockets * data.ringSize * 2 + SPARE_CHUNKS;
  const buffer = new SharedArrayBuffer(Umem.bufferBytes(data.chunkSize, chunks));
  const offset = addon.pageOffset(buffer);
  const umem = new Umem(buffer, offset, data.chunkSize, chunks);
  const kernel = addon.createUmem({
    buffer,
    offset,
    chunkSize: data.chunkSize,
    chunkCount: chunks,
    txMetadata: true,
    free: umem.free,
    clock: umem.clock,
  });
  return { umem, kernel };
}

function openPort(
  data: WorkerData,
  umem: Umem,
  kernel: KernelUmem,
  served: WorkerInterface,
  zeroCopy: WorkerData['zeroCopy'],
): OpenPort {
  const { rx } = umem;
  const tx = new Int32Array(BURST_MAX * TX_WORDS);
  const sockets: XskSocket[] = [];
  const reports: SocketReport[] = [];
  try {
    for (const queue of served.queues) {
      const counters = new SharedArrayBuffer(SOCKET_COUNTERS.length * 8);
      const socket = addon.openSocket(kernel, {
        interface: served.name,
        queue,
        ringSize: data.ringSize,
        zeroCopy,
        busyPollBudget: data.busyPollBudget,
        rx,
        tx,
        counters: new Float64Array(counters),
      });
      sockets.push(socket);
      reports.push(reportOf(served.name, queue, socket, counters));
    }
  } catch (error) {
    for (const socket of sockets) socket.close();
    throw error;
  }
  return { port: new XdpPort(served.name, served.slot, sockets, rx, tx), reports };
}

function reportOf(
  name: string,
  queue: number,
  socket: XskSocket,
  counters: SharedArrayBuffer,
): SocketReport {
  return {
    interface: name,
    queue,
    fd: socket.fd,
    zeroCopy: socket.zeroCopy,
    needWakeup: socket.needWakeup,
    busyPoll: socket.busyPoll,
    maxTxSkbBudget: socket.maxTxSkbBudget,
    counters,
  };
}

/** All ports in one mode: an interface that has no zero copy decides for the whole UMEM. */
function openPorts(data: WorkerData, umem: Umem, kernel: KernelUmem): readonly OpenPort[] {
  const open: OpenPort[] = [];
  const attempt = (zeroCopy: WorkerData['zeroCopy']): readonly OpenPort[] => {
    for (const served of data.interfaces) {
      open.push(openPort(data, umem, kernel, served, zeroCopy));
    }
    return open;
  };
  try {
    return attempt(data.zeroCopy);
  } catch (error) {
    for (const { port } of open.splice(0)) port.close();
    if (data.zeroCopy !== 'auto' || (error as NodeJS.ErrnoException).code !== 'EOPNOTSUPP') {
      throw error;
    }
    return attempt('off');
  }
}

function main(data: WorkerData): void {
  const pinning = pin(data.cpu);
  const precedence = takePrecedence(data.nice);
  tuneEngine();
  keepStep(new Lockstep(data.lockstep));
  if (data.warmUp) warmUp(addon.createPrefetcher);
  const tables = attachTables(data.memory, () => addon.signalEvent(data.doorbellFd));
  const { umem, kernel } = createUmem(data);
  const open = openPorts(data, umem, kernel);
  const tap: Tap = addon.openTap(data.tapName, kernel);
  const host = new TapHost(tap);
  const bySlot: Port[] = [];
  for (const { port } of open) bySlot[port.slot] = port;
  const event: Event = addon.createEvent();
  const reports = open.flatMap(({ reports }) => reports);
  const fds = reports.map(({ fd }) => fd);
  const poller: Poller = addon.createPoller(fds, kernel, event);
  const control = new Int32Array(data.control);
  control[CONTROL_CHUNKS] = umem.chunkCount;
  control[CONTROL_FREE_CHUNKS] = umem.freeCount;
  poller.poll(0); // writes the clock
  tables.wheels[data.index]!.start(umem.clock[0]!);
  const specializer = new Specializer();
  const join = data.warmUp ? specializer.join : joinPlainly;
  const prefetch = addon.createPrefetcher;
  const pipeline = new Pipeline(tables, data.index, umem, bySlot, host, prefetch, join);
  const ports = open.map(({ port }) => port);
  const clock = addon.createClock(umem.clock);
  const loop = new Loop({
    ports,
    pipeline,
    tracer: new Tracer(tables, data.index, umem, ports, pipeline),
    umem,
    readClock: () => clock.read(),
    stopwatch: new Stopwatch(umem.clock, tables.stages[data.index]!),
    counters: tables.counters[data.index]!,
    control,
    poller,
    mode: data.mode,
  });
  // Never left once it is entered, so V8 would compile it, and all that it calls, under load.
  const run = join(loop, 'run');
  control[CONTROL_STOP] = 1; // So an idle call of it comes back.
  const uncompiled = specializer.compile();
  control[CONTROL_STOP] = 0;
  collectGarbage();
  const ready: WorkerReady = {
    kind: 'ready',
    threadId: addon.threadId(),
    eventFd: event.fd,
    txMetadata: kernel.txMetadata,
    pinning,
    precedence,
    uncompiled,
    sockets: reports,
  };
  parentPort!.postMessage(ready);
  run();
  poller.close();
  clock.close();
  for (const { port } of open) port.close();
  tap.close();
  event.close();
  kernel.close();
}

main(workerData as WorkerData);
