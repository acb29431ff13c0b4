/**
 * The pictures of `xvs top` and of the web page in docs/images: `node
 * dist/test/support/screenshots.js` writes them, from a NAT lab under some traffic. The terminal is
 * drawn by the browser as well. Needs root, as labs do.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { executable } from '#xvs/lab/director';
import { VIP } from '#xvs/lab/natTopology';
import { Chromium } from './chromium';
import { NAT_CONFIG, type Stand, startNat, VIP_URL } from './director';
import { PseudoTerminal } from './pseudoTerminal';
import type { Cell, TerminalScreen } from './terminalScreen';

const IMAGES = join(resolve(__dirname, '..', '..', '..'), 'docs', 'images');
const WEB = '127.0.0.1:9421';
const PAGE = { width: 1240, height: 1480 };
const TERMINAL = { columns: 116, rows: 14 };
const TERMINAL_PIXELS = { width: 970, height: 276 };
/** Long enough for the charts to have a shape: requests, and then new connections as well. */
const TRAFFIC_SECONDS = 50;
const CALM_SECONDS = 26;
const BUSY_SECONDS = 10;

const CLASSES: Readonly<Record<string, string>> = {
  '1': 'bold',
  '2': 'dim',
  '7': 'bar',
  '1;4': 'title',
  '1;31': 'warning',
};
const STYLE = `body { margin: 0; background: #14171b; color: #d7dae0; }
pre { margin: 12px; font: 13.5px/1.32 'DejaVu Sans Mono', 'Liberation Mono', monospace; }
.bold, .title, .warning { font-weight: bold } .title { text-decoration: underline }
.dim { color: #8a919c } .bar { background: #d7dae0; color: #14171b } .warning { color: #ff8a80 }`;

const sleep = (seconds: number) => new Promise((done) => setTimeout(done, seconds * 1000));

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function rowHtml(cells: readonly Cell[]): string {
  const spans = cells.map(
    ({ character, style }) => `<i class="${CLASSES[style] ?? ''}">${escaped(character)}</i>`,
  );
  return spans.join('');
}

/** A page that shows the screen as a terminal would. */
function screenHtml(screen: TerminalScreen): string {
  const rows = screen.cells.map(rowHtml).join('\n');
  return `<!doctype html><style>${STYLE} i { font-style: normal }</style><pre>${rows}</pre>`;
}

async function pictureOfTop(stand: Stand): Promise<void> {
  const command = [process.execPath, executable('xvs'), 'top', '--interval', '1'];
  const { columns, rows } = TERMINAL;
  const environment = { XVS_SOCKET: stand.director.socket };
  const terminal = await PseudoTerminal.start(command, columns, rows, environment);
  let html: string;
  try {
    terminal.press('2');
    await terminal.shows(/^192\.168\.0\.10:80 /m);
    terminal.press('\x1b[B');
    // Rates need two looks.
    await sleep(3);
    html = screenHtml(terminal.screen);
    terminal.press('q');
    await terminal.end();
  } finally {
    await terminal.kill();
  }
  const browser = await Chromium.start(TERMINAL_PIXELS);
  try {
    await browser.open(`data:text/html;base64,${Buffer.from(html).toString('base64')}`);
    await browser.until("document.querySelector('pre') !== null");
    writeFileSync(join(IMAGES, 'top.png'), await browser.screenshot());
  } finally {
    await browser.close();
  }
}

async function main(): Promise<void> {
  mkdirSync(IMAGES, { recursive: true });
  const services = NAT_CONFIG['services'] as readonly unknown[];
  const idle = { tcp: `${VIP}:443`, scheduler: 'wlc', servers: [] };
  const stand = await startNat({ web: { listen: WEB }, services: [...services, idle] });
  const browser = await Chromium.start(PAGE, (command) => stand.hosts.director.inside(command));
  try {
    await browser.open(`http://${WEB}/`);
    const wrk = (connections: number, seconds: number, ...words: string[]) => {
      const load = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`];
      return stand.hosts.client.run(['wrk', ...load, ...words, VIP_URL]);
    };
    const traffic = wrk(2, TRAFFIC_SECONDS);
    await sleep(CALM_SECONDS);
    const closing = wrk(1, TRAFFIC_SECONDS - CALM_SECONDS, '-H', 'Connection: close');
    await sleep(BUSY_SECONDS);
    writeFileSync(join(IMAGES, 'page.png'), await browser.screenshot());
    await pictureOfTop(stand);
    await Promise.all([traffic, closing]);
  } finally {
    await browser.close();
    stand.close();
  }
}

void main();
