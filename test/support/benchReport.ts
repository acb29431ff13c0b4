/**
 * What the report's tests share: the bench's modules, typed as far as they are used, since benches
 * are built after the tests; runs that were recorded; and a look at a page.
 */
import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';

const ROOT = resolve(__dirname, '..', '..', '..');
export const RUN = join(ROOT, 'dist/bench/run.js');
/** Two real runs, short ones on a busy machine. */
export const RECORDED = join(ROOT, 'test/unit/bench/report');

export interface SavedResult {
  readonly name: string;
  readonly parameters: Readonly<Record<string, string | number>>;
  readonly unit: string;
  readonly min: number;
  readonly median: number;
  readonly max: number;
  readonly count?: number;
}

/** `report/compare` of the benches, say. */
export function benchModule<T>(name: string): T {
  return require(join(ROOT, 'dist/bench', name)) as T;
}

const VOID = new Set(['meta', 'br']);
const TAG = /<(\/?)([a-zA-Z][\w-]*)(?:\s[^<>]*?)?(\/?)>/g;

/** Every element is closed in order, and nothing is fetched or run. */
export function assertWellFormed(page: string): void {
  const body = page.replace(/<style>[\s\S]*?<\/style>/g, '').replace('<!doctype html>', '');
  const open: string[] = [];
  for (const [tag, end, name, empty] of body.matchAll(TAG)) {
    if (end === '/') assert.equal(open.pop(), name, `${tag} closes what is open`);
    else if (empty !== '/' && !VOID.has(name!)) open.push(name!);
  }
  assert.deepEqual(open, [], 'all elements are closed');
  assert.doesNotMatch(
    page,
    /<script|<link|<iframe|\bsrc=|\bhref="(?!#)|url\((?!#)|@import|\bNaN\b/,
  );
}

/** What a reader sees, cells with a bar between. */
export function textOf(html: string): string {
  return html
    .replace(/<\/t[dh]>/g, ' | ')
    .replace(/<[^>]+>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}

/** The row of the page's table that has this text. */
export function rowWith(page: string, text: string): string {
  const rows = [...page.matchAll(/<tr>[\s\S]*?<\/tr>/g)].map(([row]) => textOf(row));
  const found = rows.find((row) => row.includes(text));
  assert.ok(found !== undefined, `a row with ${text}`);
  return found;
}
