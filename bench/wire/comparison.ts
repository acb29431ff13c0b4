/**
 * What the wire bench says below its table: ratios within a round, and the project's targets with
 * what was measured.
 */
import type { GoalName } from '../support/goal';
import { formatRatio, type Measure, type Ratio, type Samples } from '../support/samples';
import { judgeGoal, type Target } from '../support/target';
import type { Contender } from './contender';
import { type Load, type Settings, sizesOf } from './settings';

/** What the peers and xvs's other methods are compared with. */
const BASE = 'xvs nat IPv4';

interface Pairing {
  readonly what: string;
  readonly theirs: string;
  readonly load: Load;
  readonly unit: string;
  /** Is xvs in interrupt mode, whatever the mode of the run? */
  readonly interrupts?: boolean;
}

const PAIRINGS: readonly (Pairing & { readonly goal: GoalName })[] = [
  {
    what: 'flood in Mpps, xvs / c-forwarder',
    goal: 'flood',
    theirs: 'c-forwarder IPv4',
    load: 'flood',
    unit: 'Mpps',
  },
  {
    what: 'lossless rate, xvs / nftables',
    goal: 'lossless',
    theirs: 'nftables IPv4',
    load: 'lossless',
    unit: 'Mpps',
  },
  {
    what: "packets/CPU-second at half of nftables' lossless rate, xvs interrupt / nftables",
    goal: 'half',
    theirs: 'nftables IPv4',
    load: 'half',
    unit: 'packets/CPU-second',
    interrupts: true,
  },
];

/** The last target again, by a figure that other work on the machine does not touch. */
const BY_THREADS: Pairing = {
  what: 'the same by the run time of the threads, packets/thread-second',
  theirs: 'nftables IPv4',
  load: 'half',
  unit: 'packets/thread-second',
  interrupts: true,
};

export function measureOf(
  settings: Settings,
  contender: Contender,
  load: string,
  frameBytes: number,
  unit: string,
): Measure {
  const { flows, seconds, rounds } = settings;
  const { name, mode } = contender;
  return { name, unit, parameters: { load, frameBytes, mode, flows, seconds, rounds } };
}

/** xvs's NAT divided by each peer of its family, and each of xvs's other rows by NAT over IPv4. */
export function compareRounds(
  settings: Settings,
  contenders: readonly Contender[],
  samples: Samples,
): string[] {
  const find = (wanted: string) =>
    contenders.find(({ name, mode }) => name === wanted && mode === settings.mode);
  const notes: string[] = [];
  for (const other of contenders) {
    const isOurs = other.name.startsWith('xvs');
    const base = find(isOurs ? BASE : `xvs nat IPv${other.family}`);
    if (base === undefined || other.name === base.name) continue;
    const [one, two] = isOurs ? [other, base] : [base, other];
    for (const load of ['flood', 'lossless'] satisfies Load[]) {
      for (const [index, frameBytes] of sizesOf(settings, one.family).entries()) {
        const theirs = sizesOf(settings, two.family)[index] ?? frameBytes;
        const ratio = samples.ratio(
          measureOf(settings, one, load, frameBytes, 'Mpps'),
          measureOf(settings, two, load, theirs, 'Mpps'),
        );
        if (ratio === null) continue;
        const what = `${one.name} / ${two.name}, ${load}, ${frameBytes} bytes`;
        notes.push(`${what}, round by round in Mpps: ${formatRatio(ratio)}`);
      }
    }
  }
  return notes;
}

/** The ratio of a pairing whose contenders took part, for the shortest frames; else undefined. */
function ratioOf(
  { theirs, load, unit, interrupts }: Pairing,
  settings: Settings,
  contenders: readonly Contender[],
  samples: Samples,
): Ratio | null | undefined {
  if (!settings.loads.includes(load)) return undefined;
  const wanted = interrupts ? 'interrupt' : settings.mode;
  const one = contenders.find(({ name, mode }) => name === BASE && mode === wanted);
  const other = contenders.find(({ name }) => name === theirs);
  if (one === undefined || other === undefined) return undefined;
  const frameBytes = Math.min(...sizesOf(settings, 4));
  return samples.ratio(
    measureOf(settings, one, load, frameBytes, unit),
    measureOf(settings, other, load, frameBytes, unit),
  );
}

export function compareWithTargets(
  settings: Settings,
  contenders: readonly Contender[],
  samples: Samples,
): Target[] {
  return PAIRINGS.flatMap((pairing) => {
    const ratio = ratioOf(pairing, settings, contenders, samples);
    return ratio === undefined ? [] : [judgeGoal(pairing.goal, ratio, pairing.what)];
  });
}

export function compareByThreads(
  settings: Settings,
  contenders: readonly Contender[],
  samples: Samples,
): string[] {
  const ratio = ratioOf(BY_THREADS, settings, contenders, samples);
  return ratio ? [`${BY_THREADS.what}: ${formatRatio(ratio)}`] : [];
}
