/** The page's charts, drawn by uPlot: the last minutes, as long as the page has been open. */
import type { Picture } from '../../overview/picture';
import { scaled, share } from '../../overview/text';
import { browser, type Chart, type ChartOptions, type Element, element, make } from './browser';

const POINTS_MAX = 300;
const HEIGHT = 170;
const AXIS_WIDTH = 52;
/** Pixels between two times, at least. */
const TIME_WIDTH = 80;
const COLOURS = ['#2a78c2', '#d9822b', '#3d9a50', '#a14fb5', '#c23b3b', '#7a7f87'] as const;

interface Line {
  readonly label: string;
  value(picture: Picture): number;
}
interface Kind {
  readonly title: string;
  readonly lines: (picture: Picture) => readonly Line[];
  readonly text: (value: number) => string;
}

const KINDS: readonly Kind[] = [
  {
    title: 'Packets per second',
    text: scaled,
    lines: () => [
      { label: 'from clients', value: ({ totals }) => totals.inPackets },
      { label: 'to clients', value: ({ totals }) => totals.outPackets },
    ],
  },
  {
    title: 'Bits per second',
    text: scaled,
    lines: () => [
      { label: 'from clients', value: ({ totals }) => totals.inBits },
      { label: 'to clients', value: ({ totals }) => totals.outBits },
    ],
  },
  {
    title: 'Connections per second',
    text: scaled,
    lines: () => [{ label: 'made', value: ({ totals }) => totals.connections }],
  },
  {
    title: 'Dropped and passed per second',
    text: scaled,
    lines: () => [
      { label: 'dropped', value: ({ totals }) => totals.drops },
      { label: 'to the host', value: ({ totals }) => totals.host },
    ],
  },
  {
    title: 'Load of workers',
    text: share,
    lines: ({ workers }) =>
      workers.slice(0, COLOURS.length).map((_row, at) => ({
        label: `worker ${at}`,
        value: (picture) => Number(picture.workers[at]?.['load']),
      })),
  },
];

/** A chart with its points: a column for the time, one for each line. */
class History {
  readonly #lines: readonly Line[];
  readonly #data: (number | null)[][];
  readonly #chart: Chart;
  readonly #figure: Element;

  constructor(kind: Kind, picture: Picture, figure: Element) {
    this.#lines = kind.lines(picture);
    this.#data = [[], ...this.#lines.map(() => [])];
    this.#figure = figure;
    this.#chart = new browser.uPlot(options(kind, this.#lines, this.#width), this.#data, figure);
  }

  get #width(): number {
    return Math.max(200, this.#figure.clientWidth - 16);
  }

  add(picture: Picture): void {
    const [times, ...columns] = this.#data;
    times!.push(picture.unixMs / 1000);
    for (const [at, column] of columns.entries()) {
      const value = this.#lines[at]!.value(picture);
      column.push(Number.isFinite(value) ? value : null);
    }
    if (times!.length > POINTS_MAX) for (const column of this.#data) column.shift();
    this.#chart.setData(this.#data);
  }

  resize(): void {
    this.#chart.setSize({ width: this.#width, height: HEIGHT });
  }
}

/** `seconds` since 1970, as the time of day in UTC. */
function timeText(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(11, 19);
}

function options(kind: Kind, lines: readonly Line[], width: number): ChartOptions {
  const dark = browser.matchMedia('(prefers-color-scheme: dark)').matches;
  const grid = { stroke: dark ? '#343a42' : '#e0e3e8', width: 1 };
  const stroke = dark ? '#98a2b0' : '#667080';
  return {
    width,
    height: HEIGHT,
    cursor: { sync: { key: 'xvs' } },
    // From 0: a wave of a per mille must not look like a storm.
    scales: { y: { range: (_chart, _low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    axes: [
      { ...{ stroke, grid, ticks: grid, space: TIME_WIDTH }, values: (_c, v) => v.map(timeText) },
      { ...{ stroke, grid, ticks: grid, size: AXIS_WIDTH }, values: (_c, v) => v.map(kind.text) },
    ],
    series: [
      { label: 'UTC', value: (_chart, at) => (at === null ? '-' : timeText(at)) },
      ...lines.map(({ label }, at) => ({
        label,
        stroke: COLOURS[at]!,
        width: 1.5,
        value: (_chart: unknown, value: number | null) => kind.text(value ?? Number.NaN),
      })),
    ],
  };
}

export class Charts {
  #histories: readonly History[] = [];
  #workers = -1;

  /** A picture without rates begins a chart and adds no point. */
  add(picture: Picture): void {
    if (picture.workers.length !== this.#workers) this.#begin(picture);
    if (!Number.isFinite(picture.seconds)) return;
    for (const history of this.#histories) history.add(picture);
  }

  resize(): void {
    for (const history of this.#histories) history.resize();
  }

  #begin(picture: Picture): void {
    this.#workers = picture.workers.length;
    const figures = KINDS.map(({ title }) => {
      const figure = make('figure');
      figure.append(make('figcaption', title));
      return figure;
    });
    element('charts').replaceChildren(...figures);
    this.#histories = KINDS.map((kind, at) => new History(kind, picture, figures[at]!));
  }
}
