/** A target beside what was measured: a line that a reader can check, and the same for a script. */
import { GOALS, type GoalName, type Limit } from './goal';

export interface Target extends Limit {
  readonly what: string;
  /** Which of the project's targets it speaks for; null: one of the bench's own. */
  readonly goal: GoalName | null;
  /** Null: not measured, or under conditions that prove nothing. */
  readonly measured: number | null;
  /** Of the rounds, where there were some. */
  readonly range: readonly [least: number, most: number] | null;
  readonly isMet: boolean;
  /** Under which conditions. */
  readonly remark: string;
}

/** What was measured: a figure, or one of rounds. */
export type Figure =
  | number
  | { readonly min: number; readonly median: number; readonly max: number };

export function judge(limit: Limit, what: string, figure: Figure | null, remark = ''): Target {
  const { relation, wanted, unit } = limit;
  const isSingle = figure === null || typeof figure === 'number';
  const measured = isSingle ? figure : figure.median;
  const range = isSingle ? null : ([figure.min, figure.max] as const);
  const isMet = measured !== null && holds(relation, measured, wanted);
  return { what, goal: null, relation, wanted, unit, measured, range, isMet, remark };
}

/** One of the project's targets; without a `what` of its own it goes by the goal's. */
export function judgeGoal(
  goal: GoalName,
  figure: Figure | null,
  what: string = GOALS[goal].what,
  remark = '',
): Target {
  return { ...judge(GOALS[goal], what, figure, remark), goal };
}

function holds(relation: Limit['relation'], measured: number, wanted: number): boolean {
  if (relation === 'at least') return measured >= wanted;
  return relation === 'at most' ? measured <= wanted : measured < wanted;
}

/** Two places for ratios and shares, whole numbers for what is counted. */
export function formatFigure(value: number, unit: string): string {
  if (unit === 'x' || unit === '%') return value.toFixed(2);
  return value.toLocaleString('en-US', { maximumFractionDigits: Math.abs(value) < 1000 ? 1 : 0 });
}

/** `at least 1.30 x`. */
export function formatLimit({ relation, wanted, unit }: Limit): string {
  return `${relation} ${formatFigure(wanted, unit)} ${unit}`.trimEnd();
}

/** `1.09 (1.04 to 1.20)`, or why there is none. */
export function formatMeasured({ measured, range, unit, remark }: Target): string {
  const parts = measured === null ? ['not measured'] : [formatFigure(measured, unit)];
  const within = range?.map((value) => formatFigure(value, unit));
  if (within !== undefined && within[0] !== within[1]) parts.push(`(${within.join(' to ')})`);
  return remark === '' ? parts.join(' ') : `${parts.join(' ')}, ${remark}`;
}

export function verdictOf({ measured, isMet }: Target): 'met' | 'missed' | 'not measured' {
  if (measured === null) return 'not measured';
  return isMet ? 'met' : 'missed';
}

export function formatTarget(target: Target): string {
  const line = `target: ${target.what}: ${formatLimit(target)}`;
  if (target.measured === null) return `${line}; ${formatMeasured(target)}`;
  return `${line}; measured ${formatMeasured(target)}: ${verdictOf(target)}`;
}
