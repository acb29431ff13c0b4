/**
 * What every bench hands back, and how it is shown: a table for people, JSON for comparing runs.
 */
import { writeFileSync } from 'node:fs';
import { arch, cpus, release } from 'node:os';
import { formatTarget, type Target } from './target';

export interface Result {
  readonly name: string;
  readonly parameters: Readonly<Record<string, string | number>>;
  readonly unit: string;
  readonly min: number;
  readonly median: number;
  readonly max: number;
  /** How many values they are of. */
  readonly count?: number;
}

/** Where the figures come from: without it they mean nothing. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly architecture: string;
  readonly kernel: string;
  readonly node: string;
  /** Network driver under test, or "memory" for benches without a network. */
  readonly driver: string;
  /** AF_XDP mode: "copy", "zero-copy" or "none". */
  readonly xdpMode: string;
  /** CPU of each part of the bench. */
  readonly placement: Readonly<Record<string, number>>;
}

export interface Report {
  readonly bench: string;
  readonly machine: Machine;
  readonly results: readonly Result[];
  /** What was asked for and could not be measured; not empty: the command fails. */
  readonly missing: readonly string[];
  /** What a reader has to know beside the figures, a line each. */
  readonly notes?: readonly string[];
  /** What is wanted of the figures, and whether they are so. */
  readonly targets?: readonly Target[];
  /** Printed in place of a line for each result, where those are too many to read. */
  readonly table?: string;
}

/** `values` must not be empty. The median of an even number is the mean of the middle two. */
export function summarize(
  name: string,
  parameters: Result['parameters'],
  unit: string,
  values: readonly number[],
): Result {
  const sorted = [...values].sort((a, b) => a - b);
  const low = sorted[(sorted.length - 1) >> 1];
  const high = sorted[sorted.length >> 1];
  if (low === undefined || high === undefined) throw new Error(`${name}: no values to summarize`);
  const [min, max] = [sorted[0] ?? low, sorted.at(-1) ?? high];
  const median = (low + high) / 2;
  return { name, parameters, unit, min, median, max, count: sorted.length };
}

export function describeMachine(
  driver: string,
  xdpMode: string,
  placement: Machine['placement'],
): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    architecture: arch(),
    kernel: release(),
    node: process.version,
    driver,
    xdpMode,
    placement,
  };
}

function formatValue(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(3);
}

/** Columns padded to their widest cell; the first is left-aligned, the rest right-aligned. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  const lines = rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

export function formatReport(report: Report): string {
  const { machine } = report;
  const placed = Object.entries(machine.placement).map(([part, cpu]) => `${part} on CPU ${cpu}`);
  const rows = [['name', 'unit', 'min', 'median', 'max', 'parameters']];
  for (const { name, unit, min, median, max, parameters } of report.results) {
    const given = Object.entries(parameters).map(([key, value]) => `${key}=${value}`);
    rows.push([name, unit, ...[min, median, max].map(formatValue), given.join(' ')]);
  }
  return [
    `bench ${report.bench}: ${machine.cpu}, ${machine.cores} cores, kernel ${machine.kernel}, `,
    `node ${machine.node}, ${machine.driver}, AF_XDP ${machine.xdpMode}`,
    placed.length > 0 ? `\n${placed.join(', ')}\n\n` : '\n\n',
    report.table ?? formatTable(rows),
    ...(report.notes ?? []).map((note) => `${note}\n`),
    ...(report.targets ?? []).map((target) => `${formatTarget(target)}\n`),
  ].join('');
}

export function writeJson(file: string, report: Report): void {
  const { bench, machine, results, notes, targets, missing } = report;
  const written = { bench, machine, results, notes, targets, missing };
  writeFileSync(file, `${JSON.stringify(written, null, 2)}\n`);
}
