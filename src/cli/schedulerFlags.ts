/**
 * Scheduler flags (`-b`): three bits whose names depend on the scheduler. The first two are
 * "fallback" and "port" of the hashing schedulers.
 */
import { usage } from './request';

export type SchedulerFlags = readonly [boolean, boolean, boolean];
type FlagIndex = 0 | 1 | 2;

export const NO_SCHEDULER_FLAGS: SchedulerFlags = [false, false, false];

const GENERIC: ReadonlyMap<string, FlagIndex> = new Map([
  ['flag-1', 0],
  ['flag-2', 1],
  ['flag-3', 2],
]);
const OF_SCHEDULER: Readonly<Record<string, ReadonlyMap<string, FlagIndex>>> = {
  sh: new Map([
    ['sh-fallback', 0],
    ['sh-port', 1],
  ]),
  mh: new Map([
    ['mh-fallback', 0],
    ['mh-port', 1],
  ]),
};

function flagIndex(word: string, scheduler: string): FlagIndex {
  const generic = GENERIC.get(word);
  if (generic !== undefined) return generic;
  for (const [owner, flags] of Object.entries(OF_SCHEDULER)) {
    const index = flags.get(word);
    if (index === undefined) continue;
    if (owner !== scheduler) throw usage(`incompatible scheduler flag \`${word}'`);
    return index;
  }
  throw usage(`invalid scheduler flag \`${word}'`);
}

/** `list`: comma separated, empty items are skipped. Throws UsageError. */
export function parseSchedulerFlags(list: string, scheduler: string): SchedulerFlags {
  const flags: [boolean, boolean, boolean] = [false, false, false];
  for (const word of list.split(',')) if (word !== '') flags[flagIndex(word, scheduler)] = true;
  return flags;
}

/** Comma separated names of the flags set, as this scheduler calls them. */
export function formatSchedulerFlags(flags: SchedulerFlags, scheduler: string): string {
  const names = OF_SCHEDULER[scheduler] ?? GENERIC;
  return [...names].flatMap(([name, index]) => (flags[index] ? [name] : [])).join(',');
}
