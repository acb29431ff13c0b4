/**
 * The two views of a running director: `xvs top` on a real terminal, and the web page in a real
 * browser, over one NAT lab.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { executable } from '#xvs/lab/director';
import { VIP } from '#xvs/lab/natTopology';
import { Chromium } from '../support/chromium';
import { type Stand, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts, mustRun } from '../support/process';
import { PseudoTerminal } from '../support/pseudoTerminal';

const WEB = '127.0.0.1:9421';
const REQUESTS = 4;

describe('overview', { skip: whyNoNetwork() }, () => {
  let stand: Stand;

  before(async () => {
    stand = await startNat({ web: { listen: WEB } });
    await fetchTexts(stand.hosts.client, VIP_URL, REQUESTS);
  });
  after(() => stand?.close());

  describe('xvs top', () => {
    const top = (columns: number, rows: number, ...words: string[]) =>
      PseudoTerminal.start(
        [process.execPath, executable('xvs'), 'top', ...words],
        ...[columns, rows],
        { XVS_SOCKET: stand.director.socket },
      );

    test('shows each section, follows keys and the window, gives the terminal back', async () => {
      const terminal = await top(120, 24, '--interval', '0.2');
      try {
        await terminal.shows(new RegExp(`^tcp ${VIP}:80 +rr +2 `, 'm'));
        assert.ok(terminal.screen.modes.has('1049') && !terminal.screen.modes.has('25'));
        terminal.press('2');
        await terminal.shows(/^192\.168\.0\.10:80 +tcp 172\.25\.254\.100:80 +nat +1 /m);
        await terminal.shows(/^192\.168\.0\.20:80 /m);
        terminal.press('/20:80\r');
        await terminal.shows(/1 rows with "20:80"/);
        assert.doesNotMatch(terminal.screen.text, /^192\.168\.0\.10:80/m);
        terminal.press('\x1b');
        terminal.press('3');
        await terminal.shows(/^ +0 +[0-9.]+ % /m);
        terminal.press('4');
        await terminal.shows(/^xdp +redirect_service +[0-9.k-]+ +[1-9]/m);
        terminal.press('1');
        terminal.press('\x1b[B\r');
        await terminal.shows(/2 rows of (tcp|udp) /);
        terminal.resize(50, 12);
        const narrow = await terminal.shows(/^192\.168\.0\.10:/m);
        assert.ok(
          narrow.split('\n').every((line) => line.length <= 50),
          narrow,
        );
        terminal.press('q');
        const { status, settings } = await terminal.end();
        assert.equal(status, 0);
        assert.match(settings, / icanon/);
        assert.match(settings, / echo /);
        assert.ok(terminal.screen.modes.has('25') && !terminal.screen.modes.has('1049'));
      } finally {
        await terminal.kill();
      }
    });

    test('a paused view stands still, and goes on', async () => {
      const terminal = await top(120, 20, '--interval', '0.2', '--sort', 'conns');
      const made = async () => Number(/ ([0-9]+)$/m.exec(await row())![1]);
      const row = () => terminal.shows(new RegExp(`^tcp ${VIP}:80 .* [0-9]+$`, 'm'));
      try {
        const before = await made();
        terminal.press(' ');
        await terminal.shows(/paused/);
        await fetchTexts(stand.hosts.client, VIP_URL, 1);
        assert.equal(await made(), before);
        terminal.press(' ');
        await terminal.shows(new RegExp(`^tcp ${VIP}:80 .* ${before + 1}$`, 'm'));
        terminal.press('\x03');
        assert.equal((await terminal.end()).status, 0);
      } finally {
        await terminal.kill();
      }
    });

    test('--once and --json say the same in text', async () => {
      const once = await stand.director.tool('xvs', ['top', '--once', '--interval', '0.2']);
      assert.equal(once.status, 0, once.stderr);
      for (const title of ['Services', 'Servers', 'Workers', 'Drops']) {
        assert.match(once.stdout, new RegExp(`^${title}$`, 'm'));
      }
      assert.match(once.stdout, new RegExp(`^tcp ${VIP}:80 `, 'm'));
      const json = ['top', '--json', '--count', '2', '--interval', '0.2', '--section', 'servers'];
      const told = await stand.director.tool('xvs', json);
      const pictures = told.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.equal(pictures.length, 2, told.stderr);
      const [first] = pictures as [{ readonly servers: readonly Record<string, unknown>[] }];
      const web = first.servers.filter(({ service }) => service === `tcp ${VIP}:80`);
      assert.equal(web.length, 2);
      assert.ok(web.every(({ connectionsTotal }) => Number(connectionsTotal) >= REQUESTS / 2));
    });
  });

  describe('web page', () => {
    test('shows the services, a counter moves, and nothing is complained about', async () => {
      const inside = (command: readonly string[]) => stand.hosts.director.inside(command);
      const browser = await Chromium.start({ width: 1200, height: 900 }, inside);
      try {
        await browser.open(`http://${WEB}/`);
        const row = `[...document.querySelectorAll('#services tbody tr')]
          .find((one) => one.textContent.startsWith('tcp ${VIP}:80'))`;
        await browser.until(`${row} !== undefined`);
        const made = `Number(${row}?.lastElementChild.textContent)`;
        const before = Number(await browser.evaluate(made));
        assert.ok(before >= REQUESTS, `${before}`);
        await fetchTexts(stand.hosts.client, VIP_URL, 2);
        await browser.until(`${made} === ${before + 2}`);
        await browser.until("document.querySelectorAll('#servers tbody tr').length === 4");
        await browser.evaluate(`${row}.querySelector('button').click()`);
        await browser.until("document.querySelectorAll('#servers tbody tr').length === 2");
        await browser.until("document.querySelectorAll('#charts canvas').length === 5");
        assert.equal(await browser.evaluate("document.querySelector('#state').className"), '');
        assert.deepEqual(browser.complaints, []);
      } finally {
        await browser.close();
      }
    });

    test('is read-only, and answers to no name but its own', async () => {
      const status = (...words: string[]) =>
        mustRun(stand.hosts.director, [
          ...['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '5'],
          ...words,
          `http://${WEB}/overview.json?servers=none`,
        ]);
      assert.equal(await status(), '200');
      assert.equal(await status('-X', 'POST', '-d', '{}'), '405');
      assert.equal(await status('-H', 'Host: attacker.example:9421'), '403');
      assert.equal(await status('-H', 'Host: localhost:8080'), '200');
    });
  });
});
