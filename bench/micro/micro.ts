/**
 * The bench `micro`: what the rules for the hot path rest on, each a small question, measured with
 * the package `benchmark`: nanoseconds for one frame, or one word.
 */
import Benchmark from 'benchmark';
import { describeOptions, numberOption, Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import { FRAMES } from './frames';
import { atFullness } from './localPorts';
import * as fields from './readFields';
import * as shared from './sharedWords';
import * as touch from './touchLines';

export const summary = 'ways to read headers and shared words, ns each';

const OPTIONS = {
  seconds: numberOption(1, 0.1, 60, 'seconds for each way'),
};
export const help = () => describeOptions(OPTIONS);

const FIELDS = 'five header fields';
const CONSTANT = 'a constant, twice';
const SHARED = 'one shared word';
const LINES = 'one line of 64 MB';
const LOCAL_PORT = 'a local port, taken and given back';

/** [what is done, how, the function]; each does it FRAMES times in a call. */
const WAYS: readonly (readonly [string, string, () => number])[] = [
  [FIELDS, 'DataView, own constants', fields.withLocalConstants],
  [FIELDS, 'DataView, imported accessors', fields.withAccessors],
  [FIELDS, 'cursor made beforehand', fields.withCursor],
  [FIELDS, 'bytes and shifts', fields.withByteShifts],
  [FIELDS, 'layout object in the loop', fields.withLayoutObject],
  [FIELDS, 'subarray per frame', fields.withSubarray],
  [FIELDS, 'BigInt for the addresses', fields.withBigInt],
  [FIELDS, 'closures', fields.withClosures],
  [CONSTANT, 'imported', fields.withImportedConstant],
  [CONSTANT, "the module's own", fields.withOwnConstant],
  [SHARED, 'plain read', shared.plainRead],
  [SHARED, 'Atomics.load', shared.atomicRead],
  [SHARED, 'plain add', shared.plainAdd],
  [SHARED, 'plain add to a double', shared.doubleAdd],
  [SHARED, 'Atomics.add', shared.atomicAdd],
  [LINES, 'read, one in a step', touch.oneInAStep],
  [LINES, 'read, eight in a step', touch.eightInAStep],
  [LOCAL_PORT, 'none taken', atFullness(0)],
  [LOCAL_PORT, '50 % taken', atFullness(50)],
  [LOCAL_PORT, '95 % taken', atFullness(95)],
  [LOCAL_PORT, '99 % taken', atFullness(99)],
];

/** Where results go, so that no call can be left out. */
let sink = 0;

function measure(what: string, how: string, way: () => number, seconds: number): Result {
  const bench = new Benchmark(
    how,
    () => {
      sink ^= way();
    },
    { maxTime: seconds, minSamples: 20 },
  );
  bench.run();
  const nanoseconds = bench.stats.sample.map((time) => (time * 1e9) / FRAMES);
  if (nanoseconds.length === 0) throw new Error(`${what}, ${how}: no sample was taken`);
  const result = summarize(how, { what }, 'ns', nanoseconds);
  process.stderr.write(`${what}, ${how}: ${result.median.toFixed(2)} ns\n`);
  return result;
}

export async function run(argv: readonly string[]): Promise<Report> {
  const seconds = new Options(OPTIONS, argv).number('seconds');
  const results = WAYS.map(([what, how, way]) => measure(what, how, way, seconds));
  if (!Number.isInteger(sink)) throw new Error('a way returned no integer');
  return {
    bench: 'micro',
    machine: describeMachine('memory', 'none', {}),
    results,
    missing: [],
  };
}
