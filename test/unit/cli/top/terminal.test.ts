/** `xvs top` on a pseudo-terminal, against a director without a NIC. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { executable } from '#xvs/lab/director';
import { PseudoTerminal } from '../../../support/pseudoTerminal';
import { serviceKey, serviceSettings } from '../../../support/simulation';
import { Stand } from '../verbs/director';

let stand: Stand;

before(async () => {
  stand = new Stand(1024);
  await stand.open();
  const settings = serviceSettings({ scheduler: 'rr' });
  for (let port = 1; port <= 300; port++) {
    const service = serviceKey({ address: '10.0.1.1', port });
    stand.director.execute({ command: 'add-service', service, settings });
  }
});
after(() => stand.close());

async function onTerminal(
  words: readonly string[],
  act: (terminal: PseudoTerminal) => Promise<void>,
  socket = stand.socket,
): Promise<void> {
  const command = [process.execPath, executable('xvs'), 'top', '--interval', '0.2', ...words];
  const terminal = await PseudoTerminal.start(command, 90, 20, { XVS_SOCKET: socket });
  try {
    await act(terminal);
  } finally {
    await terminal.kill();
  }
}

function isGivenBack(terminal: PseudoTerminal, settings: string): void {
  assert.deepEqual([...terminal.screen.modes], ['25']);
  assert.match(settings, / icanon/);
  assert.match(settings, / echo /);
}

test('a signal ends it, and the terminal is as it was', async () => {
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) {
    await onTerminal([], async (terminal) => {
      await terminal.shows(/300 rows/);
      process.kill(terminal.pid, signal);
      const { status, settings } = await terminal.end();
      assert.equal(status, 0, signal);
      isGivenBack(terminal, settings);
    });
  }
});

test('--count ends it by itself', async () => {
  await onTerminal(['--count', '2'], async (terminal) => {
    const { status, settings } = await terminal.end();
    assert.equal(status, 0);
    isGivenBack(terminal, settings);
    assert.match(terminal.said, /300 rows/);
  });
});

test('Control-Z where no shell could go on with it changes nothing', async () => {
  await onTerminal([], async (terminal) => {
    await terminal.shows(/300 rows/);
    terminal.press('\x1a');
    terminal.press('2');
    await terminal.shows(/ 0 rows/);
    assert.ok(terminal.screen.modes.has('1049'));
    terminal.press('q');
    isGivenBack(terminal, (await terminal.end()).settings);
  });
});

test('without a director it says so, keeps what it has, goes on when there is one', async () => {
  const other = new Stand(1024);
  const settings = serviceSettings({ scheduler: 'rr' });
  const service = serviceKey({ address: '10.0.9.9', port: 9 });
  other.director.execute({ command: 'add-service', service, settings });
  await onTerminal(
    [],
    async (terminal) => {
      await terminal.shows(/xvsd does not answer \(ENOENT\)/);
      await other.open();
      await terminal.shows(/^tcp 10\.0\.9\.9:9 /m);
      await other.close();
      const shown = await terminal.shows(/xvsd does not answer/);
      assert.match(shown, /^tcp 10\.0\.9\.9:9 /m);
      terminal.press('q');
      assert.equal((await terminal.end()).status, 0);
    },
    other.socket,
  );
});

test('what stands still is not written again', async () => {
  await onTerminal(['--count', '6'], async (terminal) => {
    await terminal.end();
    // One screen of 90 columns, then the clock's line each time that its second changes.
    const rows = terminal.said.split('tcp 10.0.1.1:').length - 1;
    assert.ok(rows <= 2 * 15, `${rows} rows were written for 15 that are shown`);
  });
});
