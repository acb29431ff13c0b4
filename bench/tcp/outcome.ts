/** What the generator says at its end: a measurement only if every response was right. */
import { build, type Histogram } from 'hdr-histogram-js';

/** Nanoseconds; as exact as the generator's own buckets (histogram.h). */
const DIGITS = 3;
const LATENCY_MOST_NS = 600e9;
export const POINTS = ['p50', 'p99', 'p99.9', 'max'] as const;
export type Point = (typeof POINTS)[number];

/** As generator.c prints it. */
interface Printed {
  readonly responses: number;
  /** Of bodies. */
  readonly bytes: number;
  readonly seconds: number;
  readonly faults: Readonly<Record<string, number>>;
  /** Nanoseconds. */
  readonly max: number;
  readonly latencies: readonly (readonly [nanoseconds: number, count: number])[];
}

export interface Outcome {
  readonly responsesPerSecond: number;
  readonly bitsPerSecond: number;
  /** Microseconds; null where nothing came. */
  readonly latencies: Readonly<Record<Point, number>> | null;
}

function histogramOf(latencies: Printed['latencies']): Histogram {
  const histogram = build({
    highestTrackableValue: LATENCY_MOST_NS,
    numberOfSignificantValueDigits: DIGITS,
  });
  for (const [nanoseconds, count] of latencies) {
    histogram.recordValueWithCount(nanoseconds, count);
  }
  return histogram;
}

function latenciesOf({ latencies, max }: Printed): Outcome['latencies'] {
  if (latencies.length === 0) return null;
  const histogram = histogramOf(latencies);
  const at = (percentile: number) =>
    Math.min(histogram.getValueAtPercentile(percentile), max) / 1e3;
  return { p50: at(50), p99: at(99), 'p99.9': at(99.9), max: max / 1e3 };
}

/** Throws when a connection was refused or reset, or a response was missing, cut short or wrong. */
export function readOutcome(line: string): Outcome {
  const printed = JSON.parse(line) as Printed;
  const faults = Object.entries(printed.faults).filter(([, count]) => count > 0);
  if (faults.length > 0) {
    const words = faults.map(([kind, count]) => `${kind} ${count}`).join(', ');
    throw new Error(`beside ${printed.responses} right responses: ${words}`);
  }
  const { bytes, latencies } = printed;
  if (bytes === 0 && latencies.length === 0) throw new Error('no response came');
  return {
    responsesPerSecond: printed.responses / printed.seconds,
    bitsPerSecond: (bytes * 8) / printed.seconds,
    latencies: latenciesOf(printed),
  };
}
