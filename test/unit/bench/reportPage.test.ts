/** The report's page of runs that were recorded: targets, every result, plots, the comparison. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runCommand } from '#xvs/lab/process';
import {
  assertWellFormed,
  benchModule,
  RECORDED,
  RUN,
  rowWith,
  type SavedResult,
  textOf,
} from '../../support/benchReport';

const NOW = join(RECORDED, 'now');
const EARLIER = join(RECORDED, 'earlier');
const RUN_MS = 60_000;

const { GOALS } = benchModule<{ GOALS: Readonly<Record<string, { readonly what: string }>> }>(
  'support/goal',
);

describe('report', () => {
  let directory: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'xvs-report-test-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function report(out: string, ...words: string[]) {
    const folder = join(directory, out);
    const options = ['report', '--no-pictures', '--out', folder, ...words];
    const done = await runCommand([process.execPath, RUN, ...options], { timeoutMs: RUN_MS });
    const page = () => readFileSync(join(folder, 'report.html'), 'utf8');
    return { ...done, page };
  }

  test('a saved run: one page that needs nothing else, with all targets and results', async () => {
    const { status, stderr, page: read } = await report('saved', '--from', NOW);
    const page = read();
    // The run was interrupted in its last bench.
    assert.equal(status, 1);
    assert.match(stderr, /^bench micro: interrupted$/m);
    assertWellFormed(page);
    for (const { what } of Object.values(GOALS)) rowWith(page, what);
    assert.match(
      rowWith(page, GOALS['flood']!.what),
      /at least 0\.97 x \| 0\.87 \(0\.86 to 0\.97\).*✗ missed/,
    );
    assert.match(rowWith(page, GOALS['tail']!.what), /at most 1\.00 x \| not measured/);
    assert.match(textOf(page), /12 targets: 0 met, 4 missed, 8 not measured/);
    assert.match(textOf(page), /AMD EPYC, 2 cores/);
    assert.match(textOf(page), /It was interrupted\.five header fields/);
  });

  test('a saved run: plots of every bench that measured something', async () => {
    const { page: read } = await report('plots', '--from', NOW);
    const page = read();
    const captions = [...page.matchAll(/aria-label="([^"]*)"/g)].map(([, name]) => name!);
    for (const caption of [
      'Frames that arrive: flood',
      'Frames that arrive: lossless',
      'NAT beside C',
      'A packet, timed and not',
      'Where the CPU’s time goes',
    ]) {
      assert.ok(captions.includes(caption), `${caption} in ${captions.join('; ')}`);
    }
    // Least, median and most of the rounds: a line, two ends and a dot with the figure.
    const flood = page.slice(page.indexOf('aria-label="Frames that arrive: flood"'));
    const plot = flood.slice(0, flood.indexOf('</svg>'));
    assert.equal([...plot.matchAll(/<circle/g)].length, 3, 'a dot a contender');
    assert.match(plot, />xvs nat IPv4, interrupt<[\s\S]*>0\.561</);
    for (const bench of ['wire', 'pipeline', 'stages', 'limits']) {
      const { results } = JSON.parse(readFileSync(join(NOW, `${bench}.json`), 'utf8')) as {
        results: readonly SavedResult[];
      };
      const section = page.slice(page.indexOf(`<section id="${bench}">`));
      const table = section.slice(section.indexOf('<details'), section.indexOf('</details>'));
      assert.equal([...table.matchAll(/<tr><td/g)].length, results.length, `${bench}: results`);
    }
  });

  test('beside an earlier run: what became faster, what did not', async () => {
    const { page: read } = await report('compared', '--from', NOW, '--compare', EARLIER);
    const page = read();
    assertWellFormed(page);
    const text = textOf(page);
    assert.match(text, /✓ faster 5 .* same 11/);
    const changes = page.slice(page.indexOf('id="changes"'), page.indexOf('id="wire"'));
    assert.match(
      rowWith(changes, 'xvs nat IPv4, lossless, interrupt'),
      /Mpps \| 0\.244 \| 0\.468 \| 1\.92 x \(1\.00 to 2\.62\) \| ✓ faster/,
    );
    assert.doesNotMatch(textOf(changes), /nftables/, 'its ranges meet');
    assert.match(rowWith(page, GOALS['flood']!.what), /0\.90 \(0\.84 to 0\.93\) \| ✗ missed/);
    assert.match(page, />earlier run</);
  });

  test('beside the JSON of one bench', async () => {
    const file = join(EARLIER, 'stages.json');
    const { page } = await report('single', '--from', NOW, '--compare', file);
    assert.match(textOf(page()), /✓ faster 2 .* same 2/);
  });

  test('a name that leads nowhere and a file that is no run are refused by name', async () => {
    const wrong = join(directory, 'wrong');
    cpSync(EARLIER, wrong, { recursive: true });
    writeFileSync(join(wrong, 'run.json'), '{"began": 5}');
    const nowhere = await report('no', '--from', NOW, '--compare', join(directory, 'nowhere'));
    assert.equal(nowhere.status, 2);
    assert.match(nowhere.stderr, /--compare: '.*nowhere' is not there/);
    const bad = await report('no', '--from', wrong);
    assert.equal(bad.status, 2);
    assert.match(bad.stderr, /run\.json: began: /);
  });
});
