/**
 * Panels as SVG, by Apache ECharts without a browser. Colours are CSS variables of the page, so
 * that one picture serves light and dark.
 */
import { type CustomSeriesOption, type EChartsCoreOption, init, setPlatformAPI } from 'echarts';
import type { Figure, Mark, Panel, Row } from './figure';
import type { SavedResult } from './saved';
import { formatShort, formatValue } from './unit';

export interface Picture {
  readonly title: string;
  readonly width: number;
  readonly height: number;
  readonly svg: string;
}

const WIDTH = 540;
const LEGEND_HEIGHT = 26;
const AXIS_HEIGHT = 44;
const LINE_HEIGHT = 280;
const STACK_ROW_HEIGHT = 46;
/** Figures are written beside the marks of so many series, no more. */
const SERIES_LABELLED_MAX = 2;
const STEPS_MAX = 5;
/** From here on an axis is logarithmic. */
const DECADES = 25;
const LABEL_WIDTH_MAX = 220;
const EARLIER = 'earlier run';

export const COLOURS = Array.from({ length: 11 }, (_, index) => `var(--series-${index + 1})`);
const INK = 'var(--ink)';
const MUTED = 'var(--muted)';
const FONT = { fontFamily: 'inherit', fontSize: 12, color: INK };
const RULE = { lineStyle: { color: 'var(--rule)' } };

/** Widths of letters as shares of the font's size: no font is measured here, so a wide one's. */
const LETTERS: readonly (readonly [RegExp, number])[] = [
  [/[ijl.,:;'|!()[\]/ ]/, 0.36],
  [/[mwMW%@]/, 0.95],
  [/[A-Z]/, 0.7],
];
const LETTER = 0.61;

function widthOf(text: string, font = '12px'): number {
  const size = Number(/([\d.]+)px/.exec(font)?.[1] ?? 12);
  const share = (letter: string) =>
    LETTERS.find(([pattern]) => pattern.test(letter))?.[1] ?? LETTER;
  return [...text].reduce((sum, letter) => sum + share(letter), 0) * size;
}

setPlatformAPI({ measureText: (text, font) => ({ width: widthOf(text, font) }) });

interface Extent {
  readonly least: number;
  readonly most: number;
  readonly isLog: boolean;
}

function extentOf(panels: readonly Panel[]): Extent {
  const results = panels.flatMap(({ rows }) =>
    rows.flatMap(({ marks }) =>
      marks.flatMap(({ result, earlier }) => (earlier === null ? [result] : [result, earlier])),
    ),
  );
  const least = Math.min(...results.map(({ min }) => min));
  const most = Math.max(...results.map(({ max }) => max));
  return { least, most, isLog: least > 0 && most / least > DECADES };
}

/** The step of an axis with at most so many: one, two or five times a power of ten. */
function stepOf(most: number): number {
  const rough = most / STEPS_MAX;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((each) => each * power >= rough * (1 - 1e-9)) ?? 10;
  return step * power;
}

function valueAxis({ least, most, isLog }: Extent, unit: string): object {
  const common = {
    name: unit,
    nameLocation: 'middle',
    nameGap: 26,
    nameTextStyle: { ...FONT, fontSize: 11, color: MUTED },
    axisLabel: { ...FONT, fontSize: 11, color: MUTED, formatter: formatShort, hideOverlap: true },
    splitLine: RULE,
  };
  if (isLog) {
    const min = 10 ** Math.floor(Math.log10(least));
    const splitLine = { ...RULE, showMaxLine: false };
    const axisLabel = { ...common.axisLabel, showMaxLabel: false };
    return { ...common, type: 'log', min, max: most * 1.1, splitLine, axisLabel };
  }
  const interval = stepOf(most > 0 ? most : 1);
  const max = interval * Math.ceil((most > 0 ? most : 1) / interval - 1e-9);
  return { ...common, type: 'value', min: Math.min(0, least), max, interval };
}

/** Marks of a row lie one below another. */
function offsetOf(series: number, count: number): number {
  return (series - (count - 1) / 2) * (count > SERIES_LABELLED_MAX ? 6 : 12);
}

type Render = NonNullable<CustomSeriesOption['renderItem']>;

interface Style {
  readonly colour: (row: number) => string;
  readonly offset: number;
  readonly isEarlier: boolean;
  readonly hasLabel: boolean;
}

/** Data: row, least, median, most. */
function renderRange({ colour, offset, isEarlier, hasLabel }: Style): Render {
  return (_parameters, api) => {
    const row = Number(api.value(0));
    const at = (place: number) => api.coord([api.value(place)!, row]) as [number, number];
    const [left, right] = [at(1)[0], at(3)[0]];
    const [middle, line] = at(2);
    const y = line + offset;
    const stroke = isEarlier ? MUTED : colour(row);
    const cap = isEarlier ? 2 : 4;
    const rule = (x1: number, x2: number, y1: number, y2: number) => ({
      type: 'line' as const,
      shape: { x1, x2, y1, y2 },
      style: { stroke, lineWidth: isEarlier ? 1 : 2, fill: 'none' },
    });
    const dot = {
      type: 'circle' as const,
      shape: { cx: middle, cy: y, r: isEarlier ? 3 : 4.5 },
      style: { fill: isEarlier ? 'var(--paper)' : stroke, stroke, lineWidth: 1 },
    };
    const text = {
      type: 'text' as const,
      style: {
        text: formatValue(Number(api.value(2))),
        x: right + 8,
        y,
        fill: MUTED,
        font: '11px sans-serif',
        textVerticalAlign: 'middle' as const,
      },
    };
    const lines = [rule(left, right, y, y), rule(left, left, y - cap, y + cap)];
    const shapes = [...lines, rule(right, right, y - cap, y + cap), dot];
    return { type: 'group', children: hasLabel ? [...shapes, text] : shapes };
  };
}

type Datum = [row: number, least: number, median: number, most: number];

function dataOf(
  rows: readonly Row[],
  series: string,
  pick: (mark: Mark) => SavedResult | null,
): Datum[] {
  return rows.flatMap(({ marks }, row) =>
    marks
      .filter((mark) => mark.series === series)
      .flatMap((mark): Datum[] => {
        const result = pick(mark);
        return result === null ? [] : [[row, result.min, result.median, result.max]];
      }),
  );
}

function rangeSeries(panel: Panel, { series, hasPeers }: Figure): CustomSeriesOption[] {
  const { rows } = panel;
  const colourOf = (place: number) => (row: number) => {
    if (series.length > 1) return COLOURS[place % COLOURS.length]!;
    return hasPeers && !rows[row]!.isOurs ? 'var(--peer)' : COLOURS[0]!;
  };
  const make = (name: string, data: Datum[], style: Style): CustomSeriesOption => ({
    name,
    type: 'custom',
    silent: true,
    itemStyle: { color: style.isEarlier ? MUTED : style.colour(0) },
    encode: { x: [1, 2, 3], y: 0 },
    data,
    renderItem: renderRange(style),
  });
  const hasLabel = series.length <= SERIES_LABELLED_MAX;
  return series.flatMap((name, place) => {
    const offset = offsetOf(place, series.length);
    const own = { colour: colourOf(place), offset, isEarlier: false, hasLabel };
    const then = dataOf(rows, name, ({ earlier }) => earlier);
    const now = make(
      name,
      dataOf(rows, name, ({ result }) => result),
      own,
    );
    if (then.length === 0) return [now];
    const below = { ...own, offset: offset + 7, isEarlier: true, hasLabel: false };
    return [make(EARLIER, then, below), now];
  });
}

function legendOf(names: readonly string[]): object {
  const textStyle = { ...FONT, fontSize: 11 };
  const data = [...new Set(names)].map((name) => ({
    name,
    icon: name === EARLIER ? 'emptyCircle' : 'circle',
  }));
  return {
    top: 0,
    left: 0,
    width: WIDTH,
    itemWidth: 10,
    itemHeight: 10,
    itemGap: 14,
    textStyle,
    data,
  };
}

function rowAxis(rows: readonly Row[]): object {
  const data = rows.map(({ label }) => label);
  const isLong = data.some((label) => widthOf(label) > LABEL_WIDTH_MAX);
  const broken = isLong ? { width: LABEL_WIDTH_MAX, overflow: 'break', lineHeight: 13 } : {};
  const axisLabel = { ...FONT, interval: 0, ...broken };
  const plain = { axisTick: { show: false }, axisLine: { show: false } };
  return { type: 'category', inverse: true, data, axisLabel, ...plain };
}

const grid = (hasLegend: boolean, right: number) => ({
  left: 4,
  right,
  top: hasLegend ? LEGEND_HEIGHT + 4 : 8,
  bottom: 20,
  containLabel: true,
});

interface Drawing {
  readonly height: number;
  readonly option: EChartsCoreOption;
}

function drawRange(panel: Panel, figure: Figure, extent: Extent): Drawing {
  const series = rangeSeries(panel, figure);
  const names = series.map(({ name }) => String(name));
  const hasLegend = new Set(names).size > 1;
  const count = figure.series.length;
  const spread = count > 1 ? Math.abs(offsetOf(0, count)) * 2 : 0;
  const rowHeight = 26 + spread + (names.includes(EARLIER) ? 8 : 0);
  const height = panel.rows.length * rowHeight + AXIS_HEIGHT + (hasLegend ? LEGEND_HEIGHT : 0);
  const option = {
    grid: grid(hasLegend, 64),
    ...(hasLegend ? { legend: legendOf(names) } : {}),
    xAxis: valueAxis(extent, figure.unit),
    yAxis: rowAxis(panel.rows),
    series,
  };
  return { height, option };
}

/** Shares of a whole, a bar a row. */
function drawStack(panel: Panel, figure: Figure): Drawing {
  const legendHeight = Math.ceil(figure.series.length / 4) * 24;
  const shareOf = ({ marks }: Row, name: string) =>
    marks.find((mark) => mark.series === name)?.result.median ?? 0;
  const option = {
    grid: { ...grid(true, 16), top: legendHeight + 8 },
    legend: legendOf(figure.series),
    xAxis: { ...valueAxis({ least: 0, most: 100, isLog: false }, figure.unit), max: 100 },
    yAxis: rowAxis(panel.rows),
    series: figure.series.map((name, place) => ({
      name,
      type: 'bar',
      stack: 'whole',
      silent: true,
      barWidth: 24,
      itemStyle: {
        color: COLOURS[place % COLOURS.length]!,
        borderColor: 'var(--paper)',
        borderWidth: 1,
      },
      data: panel.rows.map((row) => shareOf(row, name)),
    })),
  };
  return { height: panel.rows.length * STACK_ROW_HEIGHT + AXIS_HEIGHT + legendHeight, option };
}

/** Medians over a number, both axes logarithmic where that helps; ranges as whiskers. */
function drawLine(panel: Panel, figure: Figure, extent: Extent): Drawing {
  const places = panel.rows.map(({ label }) => label.replace(`${figure.x} `, ''));
  const series = figure.series.flatMap((name, place) => {
    const colour = COLOURS[place % COLOURS.length]!;
    const data = dataOf(panel.rows, name, ({ result }) => result);
    const line = {
      name,
      type: 'line',
      silent: true,
      clip: false,
      symbol: 'circle',
      symbolSize: 8,
      itemStyle: { color: colour },
      lineStyle: { color: colour, width: 2 },
      data: data.map(([row, , median]) => [row, median]),
    };
    return [line, whiskers(name, colour, data)];
  });
  const option = {
    grid: { ...grid(true, 20), left: 30, bottom: 24 },
    legend: legendOf(figure.series),
    xAxis: {
      type: 'category',
      data: places,
      name: figure.x,
      nameLocation: 'middle',
      nameGap: 26,
      nameTextStyle: { ...FONT, fontSize: 11, color: MUTED },
      axisLabel: { ...FONT, fontSize: 11, color: MUTED },
      axisLine: RULE,
      axisTick: { show: false },
    },
    yAxis: { ...valueAxis(extent, figure.unit), nameGap: 40 },
    series,
  };
  return { height: LINE_HEIGHT, option };
}

function whiskers(name: string, colour: string, data: readonly Datum[]): CustomSeriesOption {
  return {
    name,
    type: 'custom',
    silent: true,
    itemStyle: { color: colour },
    encode: { x: 0, y: [1, 2, 3] },
    data: data.map((datum) => [...datum]),
    renderItem: (_parameters, api) => {
      const at = (place: number) => api.coord([api.value(0)!, api.value(place)!]) as number[];
      const [[x = 0, low = 0], [, high = 0]] = [at(1), at(3)] as [number[], number[]];
      const shape = { x1: x, x2: x, y1: low, y2: high };
      return { type: 'line', shape, style: { stroke: colour, lineWidth: 2, fill: 'none' } };
    },
  };
}

function draw(panel: Panel, figure: Figure, extent: Extent): Drawing {
  if (figure.form === 'stack') return drawStack(panel, figure);
  return figure.form === 'line'
    ? drawLine(panel, figure, extent)
    : drawRange(panel, figure, extent);
}

/** What ECharts writes for a browser to act on, which nobody does here. */
const FOR_ACTION = / (ecmeta_\w+|class|pointer-events)="[^"]*"/g;

function render({ height, option }: Drawing): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  try {
    chart.setOption({ animation: false, textStyle: FONT, ...option });
    const svg = chart.renderToSVGString();
    return svg.replace(FOR_ACTION, '').replace(/<style[\s\S]*?<\/style>/g, '');
  } finally {
    // A chart that is left keeps the process alive.
    chart.dispose();
  }
}

/** A picture a panel. Panels of a figure share an axis, unless their figures are no kin. */
export function drawFigure(figure: Figure): Picture[] {
  const shared = extentOf(figure.panels);
  return figure.panels.map((panel) => {
    const drawing = draw(panel, figure, figure.ownAxis ? extentOf([panel]) : shared);
    return { title: panel.title, width: WIDTH, height: drawing.height, svg: render(drawing) };
  });
}
