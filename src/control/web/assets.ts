/** What the page is made of, by path; read once, when the page is opened. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { browserScript } from './browserScript';
import { PAGE } from './page/html';
import { ICON } from './page/icon';
import { STYLE } from './page/style';

export interface Asset {
  readonly type: string;
  readonly bytes: Buffer;
}

const SCRIPT_TYPE = 'text/javascript; charset=utf-8';
const STYLE_TYPE = 'text/css; charset=utf-8';

export function pageAssets(): ReadonlyMap<string, Asset> {
  const charts = dirname(require.resolve('uplot/package.json'));
  const asset = (type: string, content: string | Buffer): Asset => ({
    type,
    bytes: Buffer.from(content),
  });
  return new Map([
    ['/', asset('text/html; charset=utf-8', PAGE)],
    ['/style.css', asset(STYLE_TYPE, STYLE)],
    ['/icon.svg', asset('image/svg+xml', ICON)],
    ['/page.js', asset(SCRIPT_TYPE, browserScript(join(__dirname, 'page', 'main.js')))],
    ['/charts.js', asset(SCRIPT_TYPE, readFileSync(join(charts, 'dist', 'uPlot.iife.min.js')))],
    ['/charts.css', asset(STYLE_TYPE, readFileSync(join(charts, 'dist', 'uPlot.min.css')))],
  ]);
}
