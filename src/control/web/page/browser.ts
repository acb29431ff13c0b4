/**
 * What the page's script uses of the browser and of uPlot. Written out, because the compiler's own
 * DOM library would put its hundreds of global names into every file of the daemon as well.
 */
export interface Element {
  id: string;
  className: string;
  textContent: string | null;
  value: string;
  type: string;
  disabled: boolean;
  readonly clientWidth: number;
  append(...children: (Element | string)[]): void;
  replaceChildren(...children: Element[]): void;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  addEventListener(event: string, listener: () => void): void;
}

export interface Document {
  readonly hidden: boolean;
  title: string;
  getElementById(id: string): Element | null;
  createElement(name: string): Element;
  addEventListener(event: 'visibilitychange', listener: () => void): void;
}

export interface ColourQuery {
  readonly matches: boolean;
}

export interface Series {
  readonly label?: string;
  readonly stroke?: string;
  readonly width?: number;
  readonly value?: (chart: unknown, value: number | null) => string;
}
export interface Axis {
  readonly stroke?: string;
  readonly size?: number;
  readonly space?: number;
  readonly grid?: { readonly stroke: string; readonly width: number };
  readonly ticks?: { readonly stroke: string; readonly width: number };
  readonly values?: (chart: unknown, values: readonly number[]) => readonly string[];
}
export interface ChartOptions {
  readonly width: number;
  readonly height: number;
  readonly series: readonly Series[];
  readonly axes: readonly Axis[];
  readonly scales: Readonly<
    Record<string, { readonly range?: (chart: unknown, low: number, high: number) => number[] }>
  >;
  readonly cursor: { readonly sync: { readonly key: string } };
}
/** One array a series; the first is the time, in seconds since 1970. */
export type ChartData = readonly (readonly (number | null)[])[];
export interface Chart {
  setData(data: ChartData): void;
  setSize(size: { readonly width: number; readonly height: number }): void;
}

interface Browser {
  readonly document: Document;
  readonly uPlot: new (options: ChartOptions, data: ChartData, target: Element) => Chart;
  matchMedia(query: string): ColourQuery;
  addEventListener(event: 'resize', listener: () => void): void;
}

export const browser = globalThis as unknown as Browser;

export function element(id: string): Element {
  const found = browser.document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/** A new element with text, and a class if there is one. */
export function make(name: string, text = '', className = ''): Element {
  const made = browser.document.createElement(name);
  if (text !== '') made.textContent = text;
  if (className !== '') made.className = className;
  return made;
}
