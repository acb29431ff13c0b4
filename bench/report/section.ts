/** The section of one bench: how it ended, targets, plots, every result, notes. */

import { changeWord, formatChange } from './changes';
import { drawFigure, type Picture } from './chart';
import type { BenchChanges } from './compare';
import { type Figure, figuresOf, varyingKeys } from './figure';
import { targetTable } from './goals';
import { type Column, escapeHtml, formatDuration, table } from './html';
import type { Ran, SavedReport } from './saved';
import { formatValue } from './unit';

/** A table of more rows is folded. */
const ROWS_OPEN_MAX = 12;

export interface DrawnFigure {
  readonly figure: Figure;
  readonly pictures: readonly Picture[];
}

export function drawFigures(report: SavedReport, changes: BenchChanges | null): DrawnFigure[] {
  return figuresOf(report, changes).map((figure) => ({ figure, pictures: drawFigure(figure) }));
}

/** A figure's panels stand each for itself. */
export function captionOf({ title }: Figure, panel: Picture): string {
  return panel.title === '' ? title : `${title}: ${panel.title}`;
}

function plots({ figure, pictures }: DrawnFigure): string {
  const shown = pictures.map((picture) => {
    const name = escapeHtml(captionOf(figure, picture));
    const svg = picture.svg.replace('<svg ', `<svg role="img" aria-label="${name}" `);
    const caption = `${name} <small>${escapeHtml(figure.unit)}</small>`;
    return `<figure><figcaption>${caption}</figcaption>${svg}</figure>\n`;
  });
  return shown.join('');
}

function resultTable({ results }: SavedReport, changes: BenchChanges | null): string {
  const keys = varyingKeys(results).filter((key) => key !== 'name');
  const isCompared = changes !== null && changes.changes.size > 0;
  const column = (title: string, isFigure: boolean): Column => ({ title, isFigure });
  const columns = [
    column('name', false),
    ...keys.map((key) => column(key, false)),
    column('unit', false),
    ...['min', 'median', 'max'].map((title) => column(title, true)),
    ...(isCompared ? [column('then', true), column('now / then', true), column('', false)] : []),
  ];
  const rows = results.map((result) => {
    const change = changes?.changes.get(result);
    const compared = change
      ? [formatValue(change.then.median), formatChange(change), changeWord(change.verdict)]
      : ['', '', 'new'];
    return [
      escapeHtml(result.name),
      ...keys.map((key) => escapeHtml(String(result.parameters[key] ?? ''))),
      escapeHtml(result.unit),
      formatValue(result.min),
      `<b>${formatValue(result.median)}</b>`,
      formatValue(result.max),
      ...(isCompared ? compared : []),
    ];
  });
  return table(columns, rows);
}

/** Parameters that all results have in common. */
function commonParameters({ results }: SavedReport): string {
  const varying = new Set(varyingKeys(results));
  const [first] = results;
  const common = Object.entries(first?.parameters ?? {}).filter(([key]) => !varying.has(key));
  return common.map(([key, value]) => `${key} ${value}`).join(', ');
}

function measured(
  report: SavedReport,
  figures: readonly DrawnFigure[],
  changes: BenchChanges | null,
): string {
  const { machine, notes, missing, results } = report;
  const placed = Object.entries(machine.placement).map(([part, cpu]) => `${part} on CPU ${cpu}`);
  const where = [`${machine.driver}, AF_XDP ${machine.xdpMode}`, ...placed].join('; ');
  const common = commonParameters(report);
  const isOpen = results.length <= ROWS_OPEN_MAX ? ' open' : '';
  const left = missing.map((text) => `<p class="notice bad">${escapeHtml(text)}</p>\n`);
  return [
    `<p class="quiet">${escapeHtml(where)}</p>\n`,
    ...left,
    targetTable(report.targets),
    `<div class="plots">${figures.map(plots).join('')}</div>\n`,
    `<details${isOpen}><summary>All ${results.length} results</summary>\n`,
    common === '' ? '' : `<p class="quiet">All of them: ${escapeHtml(common)}</p>\n`,
    resultTable(report, changes),
    '</details>\n',
    notes.length > 0
      ? `<ul class="notes">${notes.map((note) => `<li>${escapeHtml(note)}</li>`).join('\n')}</ul>\n`
      : '',
  ].join('');
}

const ENDED = {
  measured: null,
  incomplete: 'Something was left out.',
  failed: 'It failed.',
  interrupted: 'It was interrupted.',
  'not run': 'It did not run.',
} as const;

export function benchSection(
  { name, words, state, seconds, said }: Ran,
  summary: string,
  report: SavedReport | null,
  figures: readonly DrawnFigure[],
  changes: BenchChanges | null,
): string {
  const took = seconds > 0 ? `, ${formatDuration(seconds)}` : '';
  const command = `npm run bench -- ${[name, ...words].join(' ')}`;
  const ended = ENDED[state];
  const talk = said === '' ? '' : `<pre>${escapeHtml(said)}</pre>`;
  return [
    `<section id="${name}"><h2>${name} <small>${escapeHtml(summary)}</small></h2>\n`,
    `<p class="quiet"><code>${escapeHtml(command)}</code>${took}</p>\n`,
    ended === null ? '' : `<div class="notice bad">${ended}${talk}</div>\n`,
    report === null ? '' : measured(report, figures, changes),
    '</section>\n',
  ].join('');
}
