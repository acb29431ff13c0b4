/**
 * A run as it is saved: `run.json` says which benches ran, with which options and how they ended,
 * and beside it lies one JSON file a bench, as `--json` writes it.
 */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { GOALS, type GoalName } from '../support/goal';
import { OptionError } from '../support/options';

const RUN_FILE = 'run.json';

const result = z.object({
  name: z.string(),
  parameters: z.record(z.string(), z.union([z.string(), z.number()])),
  unit: z.string(),
  min: z.number(),
  median: z.number(),
  max: z.number(),
  count: z.number().optional(),
});

const target = z.object({
  what: z.string(),
  goal: z.enum(Object.keys(GOALS) as [GoalName, ...GoalName[]]).nullable(),
  relation: z.enum(['at most', 'at least', 'below']),
  wanted: z.number(),
  unit: z.string(),
  measured: z.number().nullable(),
  range: z.tuple([z.number(), z.number()]).nullable(),
  isMet: z.boolean(),
  remark: z.string(),
});

const report = z.object({
  bench: z.string(),
  machine: z.object({
    cpu: z.string(),
    cores: z.number(),
    architecture: z.string(),
    kernel: z.string(),
    node: z.string(),
    driver: z.string(),
    xdpMode: z.string(),
    placement: z.record(z.string(), z.number()),
  }),
  results: z.array(result),
  notes: z.array(z.string()).default([]),
  targets: z.array(target).default([]),
  missing: z.array(z.string()).default([]),
});

/** measured: all of it; incomplete: something was left out; interrupted: by whoever watched. */
const STATES = ['measured', 'incomplete', 'failed', 'interrupted', 'not run'] as const;

const ran = z.object({
  name: z.string(),
  words: z.array(z.string()),
  state: z.enum(STATES),
  seconds: z.number(),
  /** The last that it said, where it did not end well. */
  said: z.string(),
});

const run = z.object({
  began: z.string(),
  seconds: z.number(),
  isQuick: z.boolean(),
  version: z.string(),
  /** Null: not known. */
  revision: z.string().nullable(),
  benches: z.array(ran),
});

export type SavedResult = z.infer<typeof result>;
export type SavedReport = z.infer<typeof report>;
export type State = (typeof STATES)[number];
export type Ran = z.infer<typeof ran>;
export type Run = z.infer<typeof run>;

/** A run with what its benches measured. */
export interface SavedRun extends Run {
  readonly reports: ReadonlyMap<string, SavedReport>;
}

function read<T>(file: string, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new OptionError(`${file}: ${error instanceof Error ? error.message : error}`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new OptionError(`${file}: ${issue?.path.join('.')}: ${issue?.message}`);
}

export const reportFile = (folder: string, bench: string) => join(folder, `${bench}.json`);

export function readReport(file: string): SavedReport {
  return read(file, report);
}

export function writeRun(folder: string, saved: Run): void {
  const { began, seconds, isQuick, version, revision, benches } = saved;
  const written = { began, seconds, isQuick, version, revision, benches };
  writeFileSync(join(folder, RUN_FILE), `${JSON.stringify(written, null, 2)}\n`);
}

export function readRun(folder: string): SavedRun {
  const saved = read(join(folder, RUN_FILE), run);
  return { ...saved, reports: readReports(folder, saved.benches) };
}

/** Of those benches that left one. */
export function readReports(folder: string, benches: readonly Ran[]): Map<string, SavedReport> {
  const files = benches
    .map(({ name }) => [name, reportFile(folder, name)] as const)
    .filter(([, file]) => existsSync(file));
  return new Map(files.map(([name, file]) => [name, readReport(file)]));
}

/** A run to compare with: a folder, its run.json, or what one bench wrote with --json. */
export function readEarlier(path: string): SavedRun {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new OptionError(`--compare: '${path}' is not there`);
  if (found.isDirectory()) return readRun(path);
  if (path.endsWith(RUN_FILE)) return readRun(dirname(path));
  const single = readReport(path);
  return {
    began: found.mtime.toISOString(),
    seconds: 0,
    isQuick: false,
    version: '',
    revision: null,
    benches: [{ name: single.bench, words: [], state: 'measured', seconds: 0, said: '' }],
    reports: new Map([[single.bench, single]]),
  };
}
