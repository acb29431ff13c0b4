/** What became faster or slower since an earlier run, in words. */
import type { BenchChanges, Change, Comparison, Verdict } from './compare';
import { describeValue, varyingKeys } from './figure';
import { escapeHtml, table, word } from './html';
import type { SavedReport, SavedResult } from './saved';
import { formatValue } from './unit';

const MEANINGS: Readonly<Record<Verdict, 'good' | 'bad' | 'neither'>> = {
  faster: 'good',
  better: 'good',
  slower: 'bad',
  worse: 'bad',
  more: 'neither',
  less: 'neither',
  same: 'neither',
  'single values': 'neither',
};

export function changeWord(verdict: Verdict): string {
  return word(verdict, MEANINGS[verdict]);
}

/** `1.12 x (1.05 to 1.20)`. */
export function formatChange({ ratio, between }: Change): string {
  if (ratio === null) return '–';
  const within = between?.map((value) => value.toFixed(2)).join(' to ');
  return within === undefined ? `${ratio.toFixed(2)} x` : `${ratio.toFixed(2)} x (${within})`;
}

function count(changes: readonly Change[]): string {
  const words = Object.keys(MEANINGS) as Verdict[];
  return words
    .map((verdict) => [verdict, changes.filter((each) => each.verdict === verdict).length] as const)
    .filter(([, number]) => number > 0)
    .map(([verdict, number]) => `${changeWord(verdict)} ${number}`)
    .join(' &nbsp; ');
}

function isChange({ verdict }: Change): boolean {
  return verdict !== 'same' && verdict !== 'single values';
}

/** The farthest from 1 first. */
function byExtent(one: Change, other: Change): number {
  const extent = ({ ratio }: Change) => Math.abs(Math.log(ratio || 1e-9));
  return extent(other) - extent(one);
}

function describeResult(result: SavedResult, { results }: SavedReport): string {
  const keys = varyingKeys(results).filter((key) => key !== 'name');
  const words = keys.map((key) => describeValue(key, String(result.parameters[key] ?? '')));
  return [result.name, ...words.filter((text) => text !== '')].join(', ');
}

function changedRows(name: string, report: SavedReport, { changes }: BenchChanges): string[][] {
  return [...changes.values()]
    .filter(isChange)
    .sort(byExtent)
    .map((change) => [
      `<a href="#${name}">${name}</a>`,
      escapeHtml(describeResult(change.now, report)),
      escapeHtml(change.now.unit),
      formatValue(change.then.median),
      formatValue(change.now.median),
      escapeHtml(formatChange(change)),
      changeWord(change.verdict),
    ]);
}

/** Of the whole run. */
export function changesSection(
  { earlier, benches, warnings }: Comparison,
  reports: ReadonlyMap<string, SavedReport>,
): string {
  const all = [...benches.values()].flatMap(({ changes }) => [...changes.values()]);
  const added = [...benches.values()].reduce((sum, each) => sum + each.added.length, 0);
  const gone = [...benches.values()].reduce((sum, each) => sum + each.gone.length, 0);
  const rows = [...benches].flatMap(([name, each]) => changedRows(name, reports.get(name)!, each));
  const titles = ['bench', 'result', 'unit', 'then', 'now', 'now / then (of the ranges)', ''];
  const columns = titles.map((title, place) => ({ title, isFigure: place >= 3 && place <= 5 }));
  const warned = warnings.map((warning) => `<p class="notice bad">${escapeHtml(warning)}</p>`);
  return `<section id="changes"><h2>Since the earlier run</h2>
<p class="quiet">Earlier run: ${escapeHtml(describeEarlier(earlier))}. A change counts where the
ranges, least to most of the rounds, do not meet, or where the medians are further apart than the
wider of them. Single values have no range and prove nothing.</p>
${warned.join('\n')}<p>${count(all)}${added > 0 ? ` &nbsp; ${added} new` : ''}${gone > 0 ? ` &nbsp; ${gone} gone` : ''}</p>
${rows.length > 0 ? table(columns, rows) : '<p>No result changed.</p>'}</section>\n`;
}

function describeEarlier({ began, revision }: Comparison['earlier']): string {
  const date = began.replace('T', ' ').replace(/\..*/, ' UTC');
  return revision === null ? date : `${date}, revision ${revision}`;
}
