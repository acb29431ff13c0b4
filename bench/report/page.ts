/** The page: one file that needs nothing else, no network and no script. */
import { changesSection } from './changes';
import type { Comparison } from './compare';
import { goalRows, goalTable } from './goals';
import { escapeHtml, formatDuration } from './html';
import type { Run, SavedReport, SavedRun } from './saved';
import { benchSection, type DrawnFigure } from './section';
import { STYLE } from './style';

const QUICK = 'A quick run: it shows that the benches work. Its figures mean nothing.';

function facts(run: SavedRun): string {
  const { began, seconds, version, revision } = run;
  const machine = [...run.reports.values()][0]?.machine;
  const rows: [string, string][] = [
    ['began', began.replace('T', ' ').replace(/\..*/, ' UTC')],
    ['took', formatDuration(seconds)],
    ['xvs', revision === null ? version : `${version}, ${revision}`],
  ];
  if (machine !== undefined) {
    const { cpu, cores, architecture, kernel, node } = machine;
    rows.push(['CPU', `${cpu}, ${cores} cores, ${architecture}`]);
    rows.push(['kernel', kernel], ['Node.js', node]);
  }
  const shown = rows.map(
    ([name, value]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`,
  );
  return `<dl class="facts">${shown.join('')}</dl>\n`;
}

/** Benches of one run may have been measured on several machines, where files were put together. */
function machineWarning(reports: ReadonlyMap<string, SavedReport>): string {
  const machines = new Set(
    [...reports.values()].map(
      ({ machine: { cpu, cores, kernel, node } }) => `${cpu}, ${cores} cores, ${kernel}, ${node}`,
    ),
  );
  if (machines.size < 2) return '';
  const listed = [...machines].map(escapeHtml).join('; ');
  return `<p class="notice bad">Not one machine, or not one state of it: ${listed}</p>\n`;
}

function badRuns({ benches }: Run): string {
  const bad = benches.filter(({ state }) => state !== 'measured');
  if (bad.length === 0) return '';
  const listed = bad.map(({ name, state }) => `<a href="#${name}">${name}</a>: ${state}`);
  return `<p class="notice bad">${listed.join(', ')}</p>\n`;
}

function tally(run: SavedRun): string {
  const rows = goalRows(run);
  const count = (verdict: string) => rows.filter((row) => row.verdict === verdict).length;
  const counts = ['met', 'missed', 'not measured'].map((verdict) => `${count(verdict)} ${verdict}`);
  return `${rows.length} targets: ${counts.join(', ')}`;
}

/** `summaries`: what each bench is about. */
export function makePage(
  run: SavedRun,
  summaries: Readonly<Record<string, string>>,
  figures: ReadonlyMap<string, readonly DrawnFigure[]>,
  comparison: Comparison | null,
): string {
  const links = run.benches.map(({ name }) => `<a href="#${name}">${name}</a>`);
  const sections = run.benches.map((ran) =>
    benchSection(
      ran,
      summaries[ran.name] ?? '',
      run.reports.get(ran.name) ?? null,
      figures.get(ran.name) ?? [],
      comparison?.benches.get(ran.name) ?? null,
    ),
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>xvs: benches</title><style>${STYLE}</style></head>
<body><main>
<h1>xvs: benches</h1>
<p class="quiet">Userspace Linux Virtual Server on AF_XDP. Marks show least, median and most of the
rounds. Compare rows of one table; figures of two machines say nothing about each other.</p>
${facts(run)}${run.isQuick ? `<p class="notice bad">${QUICK}</p>\n` : ''}${machineWarning(run.reports)}${badRuns(run)}
<nav><a href="#targets">targets</a>${comparison === null ? '' : '<a href="#changes">changes</a>'}
${links.join('\n')}</nav>
<section id="targets"><h2>Targets <small>${tally(run)}</small></h2>
${goalTable(run, comparison?.earlier ?? null)}</section>
${comparison === null ? '' : changesSection(comparison, run.reports)}${sections.join('')}</main></body></html>
`;
}
