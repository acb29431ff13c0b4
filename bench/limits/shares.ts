/**
 * Where the time of the contender's CPU goes between two readings: parts that add up to the whole.
 *
 * Threads' run times are the scheduler's. The worker's is divided by its own stages: their lengths
 * are times on the clock, so what ran in between is taken out first. The sink's receive thread runs
 * before all others on that CPU and is woken by nothing but a transmit: all of it lies within that
 * stage. What else took the CPU from the worker did so at any moment: it is taken out of all stages
 * in proportion.
 *
 * The two are one part: the kernel charges what a system call goes on doing after it has woken the
 * sink's thread to that thread, since it does not read the clock twice (rq_clock_skip_update).
 */
import { STAGES, type Stage } from '#xvs/table/stage';
import type { Reading, ThreadTime } from './reading';

/** In the order of a frame's way. */
export const PARTS = [
  'kernel receive',
  'receive call',
  'JavaScript',
  'garbage collection',
  'transmit, far end',
  'timers',
  'empty polls',
  'control plane',
  'others',
  'idle',
] as const;
export type Part = (typeof PARTS)[number];

export interface Shares {
  /** Of one CPU. */
  readonly parts: Readonly<Record<Part, number>>;
  readonly seconds: number;
  readonly frames: number;
  readonly framesPerBurst: number;
  readonly framesPerWakeUp: number;
}

/** Stages in which the worker has the CPU. */
const AWAKE = ['receive', 'pipeline', 'transmit', 'timers', 'poll'] as const satisfies Stage[];

/** What each thread of xvsd ran between the readings; that of the worker apart. */
function divideThreads(before: Reading, after: Reading): { worker: number; others: number } {
  const ran = [...after.threads].map(
    ([thread, { ran }]: readonly [string, ThreadTime]) =>
      ran - (before.threads.get(thread)?.ran ?? 0),
  );
  // In a flood no other comes near it.
  const worker = Math.max(...ran);
  return { worker, others: ran.reduce((sum, each) => sum + each, 0) - worker };
}

/** By what the metrics' own time differs from that of the threads: both are of a steady flood. */
function scaleOf(before: Reading, after: Reading): number {
  const elapsed = STAGES.reduce(
    (sum, stage) => sum + after.stages[stage] - before.stages[stage],
    0,
  );
  if (elapsed <= 0) throw new Error("the worker's stages stood still");
  return (after.time - before.time) / elapsed;
}

/** The worker's run time by stage. */
function divideStages(
  before: Reading,
  after: Reading,
  worker: number,
  sink: number,
): Record<(typeof AWAKE)[number], number> {
  const scale = scaleOf(before, after);
  const lengths = AWAKE.map((stage) => {
    const length = (after.stages[stage] - before.stages[stage]) * scale;
    return stage === 'transmit' ? Math.max(0, length - sink) : length;
  });
  const all = lengths.reduce((sum, length) => sum + length, 0);
  if (all <= 0) throw new Error('no traffic reached the worker');
  const entries = AWAKE.map((stage, place) => [stage, (lengths[place]! / all) * worker] as const);
  return Object.fromEntries(entries) as Record<(typeof AWAKE)[number], number>;
}

/** `collections`: seconds of garbage collections in the worker. */
export function divide(before: Reading, after: Reading, collections: number): Shares {
  const seconds = after.time - before.time;
  const receive = after.receive.map((ran, place) => ran - before.receive[place]!);
  const [client = 0, front = 0, back = 0, server = 0] = receive;
  const { worker, others: control } = divideThreads(before, after);
  const stages = divideStages(before, after, worker, server);
  const known = client + front + back + server + worker + control;
  const busy = Math.max(known, after.cpuBusy - before.cpuBusy);
  const inScript = Math.max(0, stages.pipeline - collections);
  const times: Record<Part, number> = {
    'kernel receive': client + front + back,
    'receive call': stages.receive,
    JavaScript: inScript,
    'garbage collection': stages.pipeline - inScript,
    'transmit, far end': stages.transmit + server,
    timers: stages.timers,
    'empty polls': stages.poll,
    'control plane': control,
    others: busy - known,
    idle: Math.max(0, seconds - busy),
  };
  const all = Object.values(times).reduce((sum, time) => sum + time, 0);
  const counted = after.frames - before.frames;
  return {
    parts: Object.fromEntries(PARTS.map((part) => [part, times[part] / all])) as Record<
      Part,
      number
    >,
    seconds,
    frames: counted * scaleOf(before, after),
    framesPerBurst: counted / (after.bursts - before.bursts),
    framesPerWakeUp: counted / (after.wakeUps - before.wakeUps),
  };
}
