/** What the tcp bench prints: the medians of its figures, and ratios of xvs to its peers. */
import { formatTable } from '../support/report';
import { formatRatio } from '../support/samples';
import type { Contender } from './contenders';
import { COUNTED, type Figures, OFFLOADS } from './figures';
import { POINTS } from './outcome';
import type { Load, Offloads, PacedLoad, Settings } from './settings';

/** What the peers and xvs's other methods are compared with. */
const BASE = 'xvs NAT';
const PACED: readonly PacedLoad[] = ['requests', 'connect'];

/** A line for each contender: as fast as it goes, then at a rate that is the same for all. */
function loadTable(figures: Figures, contenders: readonly Contender[], load: PacedLoad): string {
  const counted = COUNTED[load];
  const rows = [
    [load, `${counted}/s`, 'CPUs', `${counted}/CPU-second`, 'paced', ...POINTS, 'CPUs'],
  ];
  for (const contender of contenders) {
    const most = (unit: string, digits = 0) =>
      figures.show(figures.most(contender, load, OFFLOADS, unit), digits);
    rows.push([
      contender.name,
      ...[most(`${counted}/s`), most('CPUs busy', 2), most(`${counted}/CPU-second`), ''],
      ...POINTS.map((point) => figures.show(figures.latency(contender, load, point), 0)),
      figures.show(figures.pacedCpus(contender, load), 2),
    ]);
  }
  return formatTable(rows);
}

function transferTable(
  figures: Figures,
  contenders: readonly Contender[],
  offloads: readonly Offloads[],
): string {
  const units = ['Gbit/s', 'CPUs busy', 'Gbit/CPU-second'];
  const rows = [['transfer', 'offloads', 'Gbit/s', 'CPUs', 'Gbit/CPU-second']];
  for (const way of offloads) {
    for (const contender of contenders) {
      const cells = units.map((unit) =>
        figures.show(figures.most(contender, 'transfer', way, unit), 2),
      );
      rows.push([contender.name, way, ...cells]);
    }
  }
  return formatTable(rows);
}

/** Of the tables of ratios. */
interface Column {
  readonly title: string;
  readonly load: Load;
  readonly offloads: Offloads;
}

function columnsOf({ loads, offloads }: Settings): Column[] {
  return loads.flatMap((load): Column[] =>
    load === 'transfer'
      ? offloads.map((way) => ({ title: `transfer ${way}`, load, offloads: way }))
      : [{ title: load, load, offloads: OFFLOADS }],
  );
}

/** xvs's NAT divided by each peer, and each of xvs's other methods by NAT. */
function pairsOf(contenders: readonly Contender[]): [Contender, Contender][] {
  const base = contenders.find(({ name }) => name === BASE);
  if (base === undefined) return [];
  return contenders
    .filter((other) => other !== base)
    .map((other) => (other.name.startsWith('xvs') ? [other, base] : [base, other]));
}

function ratioTable(
  figures: Figures,
  pairs: readonly [Contender, Contender][],
  columns: readonly Column[],
  per: 's' | 'CPU-second',
): string {
  const rows = [[`per ${per}, round by round`, ...columns.map(({ title }) => title)]];
  for (const [one, other] of pairs) {
    const cells = columns.map(({ load, offloads }) => {
      const unit = `${COUNTED[load]}/${per}`;
      const ratio = figures.ratio(
        figures.most(one, load, offloads, unit),
        figures.most(other, load, offloads, unit),
      );
      return ratio === null ? '' : formatRatio(ratio).replace('median ', '');
    });
    rows.push([`${one.name} / ${other.name}`, ...cells]);
  }
  return formatTable(rows);
}

export function tablesOf(
  settings: Settings,
  figures: Figures,
  contenders: readonly Contender[],
): string {
  const { loads, offloads } = settings;
  const paced = PACED.filter((load) => loads.includes(load));
  const parts = paced.map((load) => loadTable(figures, contenders, load));
  if (loads.includes('transfer')) parts.push(transferTable(figures, contenders, offloads));
  const pairs = pairsOf(contenders);
  if (pairs.length > 0) {
    const columns = columnsOf(settings);
    parts.push(ratioTable(figures, pairs, columns, 's'));
    parts.push(ratioTable(figures, pairs, columns, 'CPU-second'));
  }
  return `medians of the rounds; latencies in us; CPUs: the director's\n\n${parts.join('\n')}\n`;
}
