/**
 * `report`: runs the benches one after another and writes one page with plots of all they measured,
 * beside an earlier run where one is given. A bench that fails is shown as such; the others run.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describeOptions, Options } from '../support/options';
import { describeMachine, type Report } from '../support/report';
import { type Comparison, compareRuns } from './compare';
import { makePage } from './page';
import { composeSvg, writePng } from './picture';
import { BENCHES } from './plan';
import { Runner } from './runner';
import { type Run, readEarlier, readReports, readRun, type SavedRun, writeRun } from './saved';
import { type DrawnFigure, drawFigures } from './section';
import { OPTIONS, readSettings, type Settings } from './settings';

export const summary =
  'all benches, one after another, and a page with plots of what they measured';
export const help = () => describeOptions(OPTIONS);

const PROJECT = resolve(__dirname, '..', '..', '..');
const PAGE_FILE = 'report.html';

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function versionOf(): string {
  const manifest = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
  return (manifest as { readonly version: string }).version;
}

/** Of a checkout: the commit, and whether there is more than it; else null. */
function revisionOf(): string | null {
  const words = ['-C', PROJECT, 'describe', '--always', '--dirty=, changed'];
  try {
    return execFileSync('git', words, { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return null;
  }
}

/** What a bench says of itself: bench NAME is the module NAME/NAME. */
function summaryOf(name: string): string {
  if (!BENCHES.includes(name)) return '';
  return (require(join(__dirname, '..', name, name)) as { readonly summary: string }).summary;
}

async function measure({ out, benches, isQuick }: Settings): Promise<SavedRun> {
  const runner = new Runner();
  const interrupt = () => {
    say('interrupted: the running bench is ended; the page shows what is there');
    runner.interrupt();
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, interrupt);
  try {
    const [began, start] = [new Date().toISOString(), performance.now()];
    // Now: who works on meanwhile has another one in the end.
    const [version, revision] = [versionOf(), revisionOf()];
    const ran = await runner.runAll(benches, out, isQuick);
    const seconds = (performance.now() - start) / 1000;
    const run: Run = { began, seconds, isQuick, version, revision, benches: ran };
    writeRun(out, run);
    return { ...run, reports: readReports(out, ran) };
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
}

/** Returns what could not be drawn, and why. */
async function writePictures(
  out: string,
  run: SavedRun,
  figures: ReadonlyMap<string, readonly DrawnFigure[]>,
): Promise<string[]> {
  for (const [name, drawn] of figures) {
    if (drawn.length === 0) continue;
    const { cpu, cores, kernel, node, driver, xdpMode } = run.reports.get(name)!.machine;
    const machine = `${cpu}, ${cores} cores, kernel ${kernel}, node ${node}`;
    const quick = run.isQuick ? '; a quick run, its figures mean nothing' : '';
    const line = `${machine}, ${driver}, AF_XDP ${xdpMode}${quick}`;
    try {
      await writePng(join(resolve(out), `${name}.png`), composeSvg(name, line, drawn));
    } catch (error) {
      const [why] = String(error instanceof Error ? error.message : error).split('\n');
      return [`no pictures: ${why}; they need Debian's package chromium`];
    }
  }
  return [];
}

/** Writes the page and the pictures; returns what is missing. */
async function write(
  { out, hasPictures }: Settings,
  run: SavedRun,
  comparison: Comparison | null,
): Promise<readonly string[]> {
  const figures = new Map(
    [...run.reports].map(([name, report]) => [
      name,
      drawFigures(report, comparison?.benches.get(name) ?? null),
    ]),
  );
  const summaries = Object.fromEntries(run.benches.map(({ name }) => [name, summaryOf(name)]));
  writeFileSync(join(out, PAGE_FILE), makePage(run, summaries, figures, comparison));
  say(`page: ${join(out, PAGE_FILE)}`);
  return hasPictures ? writePictures(out, run, figures) : [];
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  const { out, from, compare } = settings;
  // Read first: a wrong name is to be known before an hour has gone.
  const earlier = compare === null ? null : readEarlier(compare);
  const saved = from === null ? null : readRun(from);
  mkdirSync(out, { recursive: true });
  const measured = saved ?? (await measure(settings));
  const comparison = earlier === null ? null : compareRuns(measured, earlier);
  const missing = [
    ...measured.benches
      .filter(({ state }) => state !== 'measured')
      .map(({ name, state, said }) => `bench ${name}: ${state}${said && `\n${said}`}`),
    ...(await write(settings, measured, comparison)),
  ];
  const targets = [...measured.reports.values()].flatMap((report) => report.targets);
  // Each bench has said where its parts were placed.
  const machine = describeMachine('see each bench', 'see each bench', {});
  return { bench: 'report', machine, results: [], missing, targets, table: '' };
}
