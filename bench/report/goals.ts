/** All targets of the project beside what a run measured, those that nobody measured too. */
import { GOALS, type GoalName } from '../support/goal';
import { formatLimit, formatMeasured, type Target, verdictOf } from '../support/target';
import { escapeHtml, table, word } from './html';
import type { SavedRun } from './saved';

export interface GoalRow {
  readonly goal: GoalName;
  /** What was judged, the one furthest from what is wanted first. */
  readonly judged: readonly Target[];
  readonly verdict: 'met' | 'missed' | 'not measured';
}

function targetsOf(run: SavedRun): Target[] {
  return [...run.reports.values()].flatMap(({ targets }) => targets);
}

/** How far beyond the limit, more is worse: what was not measured comes after what was missed. */
function excess({ relation, measured, wanted }: Target): number {
  if (measured === null) return 0;
  return relation === 'at least' ? wanted - measured : measured - wanted;
}

const ORDER = ['missed', 'not measured', 'met'];

function byNeed(one: Target, other: Target): number {
  const rank = ORDER.indexOf(verdictOf(one)) - ORDER.indexOf(verdictOf(other));
  return rank !== 0 ? rank : excess(other) - excess(one);
}

export function goalRows(run: SavedRun): GoalRow[] {
  const targets = targetsOf(run);
  return (Object.keys(GOALS) as GoalName[]).map((goal) => {
    const judged = targets.filter((target) => target.goal === goal).sort(byNeed);
    const [worst] = judged;
    return { goal, judged, verdict: worst === undefined ? 'not measured' : verdictOf(worst) };
  });
}

const MEANINGS = { met: 'good', missed: 'bad', 'not measured': 'neither' } as const;

export function verdictWord(verdict: GoalRow['verdict']): string {
  return word(verdict, MEANINGS[verdict]);
}

/** The one that counts, and how many others there are. */
function measuredCell(judged: readonly Target[]): string {
  const [worst] = judged;
  if (worst === undefined) return '<span class="quiet">not measured</span>';
  const figure = escapeHtml(formatMeasured({ ...worst, remark: '' }));
  const met = judged.filter(({ isMet }) => isMet).length;
  const others = judged.length > 1 ? `the worst of ${judged.length}, ${met} met` : '';
  const what = worst.what === GOALS[worst.goal!].what ? '' : worst.what;
  const more = [what, worst.remark, others].filter((text) => text !== '').map(escapeHtml);
  const shown =
    worst.measured === null ? `<span class="quiet">${figure}</span>` : `<b>${figure}</b>`;
  return `${shown}<br><span class="quiet">${more.join('; ')}</span>`;
}

export function goalTable(run: SavedRun, earlier: SavedRun | null): string {
  const then = earlier === null ? null : goalRows(earlier);
  const columns = ['target', 'wanted', 'measured', ...(then ? ['earlier'] : []), ''];
  const rows = goalRows(run).map(({ goal, judged, verdict }, place) => {
    const { bench, what } = GOALS[goal];
    const before = then?.[place]?.judged[0];
    const shown = before === undefined ? '' : escapeHtml(formatMeasured(before));
    return [
      `${escapeHtml(what)} <a href="#${bench}">${bench}</a>`,
      escapeHtml(formatLimit(GOALS[goal])),
      measuredCell(judged),
      ...(then ? [shown] : []),
      verdictWord(verdict),
    ];
  });
  return table(
    columns.map((title) => ({ title, isFigure: false })),
    rows,
    'targets',
  );
}

/** Those of one bench. */
export function targetTable(targets: readonly Target[]): string {
  if (targets.length === 0) return '';
  const columns = ['target', 'wanted', 'measured', ''];
  const rows = targets.map((target) => [
    escapeHtml(target.what),
    escapeHtml(formatLimit(target)),
    escapeHtml(formatMeasured(target)),
    verdictWord(verdictOf(target)),
  ]);
  return table(
    columns.map((title) => ({ title, isFigure: false })),
    rows,
    'targets',
  );
}
