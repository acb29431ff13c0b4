/**
 * PNG files for where no page can be shown, one a bench: its plots in one SVG, which Debian's
 * Chromium draws, two pixels a point.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Picture } from './chart';
import { escapeHtml } from './html';
import { captionOf, type DrawnFigure } from './section';
import { LIGHT } from './style';

const DRAW_MS = 120_000;
const MARGIN = 24;
const GAP = 32;
const HEAD_HEIGHT = 80;
const CAPTION_HEIGHT = 24;

function text(value: string, x: number, y: number, style: string): string {
  return `<text x="${x}" y="${y}" style="fill:var(--ink);${style}">${escapeHtml(value)}</text>`;
}

interface Captioned {
  readonly caption: string;
  readonly picture: Picture;
}

/** In two columns; a row is as high as its highest. */
function arrange(panels: readonly Captioned[], top: number): { svg: string; bottom: number } {
  let y = top;
  const parts: string[] = [];
  for (let index = 0; index < panels.length; index += 2) {
    const row = panels.slice(index, index + 2);
    row.forEach(({ caption, picture: { width, svg } }, column) => {
      const x = MARGIN + column * (width + GAP);
      parts.push(text(caption, x, y + 14, 'font-size:13px;font-weight:600'));
      parts.push(svg.replace('<svg ', `<svg x="${x}" y="${y + CAPTION_HEIGHT}" `));
    });
    y += CAPTION_HEIGHT + Math.max(...row.map(({ picture }) => picture.height)) + GAP / 2;
  }
  return { svg: parts.join('\n'), bottom: y };
}

/** All plots of a bench. `line`: the machine, since a picture goes about without its page. */
export function composeSvg(bench: string, line: string, figures: readonly DrawnFigure[]): Picture {
  const panels = figures.flatMap(({ figure, pictures }) =>
    pictures.map((picture) => ({
      caption: `${captionOf(figure, picture)}, ${figure.unit}`,
      picture,
    })),
  );
  const { svg: plots, bottom } = arrange(panels, HEAD_HEIGHT);
  const width = 2 * MARGIN + 2 * panels[0]!.picture.width + GAP;
  const height = bottom + MARGIN / 2;
  const style = `svg{${LIGHT};font-family:'DejaVu Sans',sans-serif}`;
  const svg = [
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ',
    `width="${width}" height="${height}"><style>${style}</style>`,
    '<rect width="100%" height="100%" style="fill:var(--paper)"/>',
    text(`xvs: ${bench}`, MARGIN, 36, 'font-size:20px;font-weight:700'),
    text(line, MARGIN, 56, 'font-size:11px;fill:var(--muted)'),
    `${plots}</svg>\n`,
  ].join('');
  return { title: bench, width, height, svg };
}

/** Throws where there is no Chromium. */
export async function writePng(file: string, { width, height, svg }: Picture): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'xvs-report-'));
  try {
    const source = join(folder, 'plots.svg');
    writeFileSync(source, svg);
    const options = [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
      ...['--disable-background-networking', '--disable-component-update', '--no-first-run'],
      ...['--hide-scrollbars', '--force-device-scale-factor=2', `--user-data-dir=${folder}`],
      ...[`--window-size=${Math.ceil(width)},${Math.ceil(height)}`, `--screenshot=${file}`],
    ];
    await promisify(execFile)('chromium', [...options, `file://${source}`], { timeout: DRAW_MS });
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}
