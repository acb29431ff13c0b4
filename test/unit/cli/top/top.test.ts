/** `xvs top` without a terminal: keys, what they do, how a frame is laid out and written. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { keysOf } from '#xvs/cli/top/keys';
import { lineText, makeFrame } from '#xvs/cli/top/layout';
import { difference, encodeLine } from '#xvs/cli/top/terminal';
import { firstView, KEYS, press, type View } from '#xvs/cli/top/view';
import type { Picture, Row } from '#xvs/control/overview/picture';
import { SECTION_NAMES, SECTIONS } from '#xvs/control/overview/sections';
import { TerminalScreen } from '../../../support/terminalScreen';

const TOTALS = {
  ...{ inPackets: 1, outPackets: 2, inBits: 3, outBits: 4, connections: 5, drops: 6, host: 7 },
  ...{ active: 8, inactive: 9, load: 0.5 },
};

function serviceRow(name: string, inPackets: number): Row {
  return {
    ...{ id: name, service: name, scheduler: 'wlc', servers: 2, active: 3, inactive: 4 },
    ...{ connections: 5, inPackets, outPackets: 6, inBits: 7, outBits: 8, connectionsTotal: 9 },
  };
}

function pictureOf(services: readonly Row[]): Picture {
  const server = { ...serviceRow('tcp 10.0.0.1:80', 1), id: 's', server: '10.0.1.1:80' };
  const workers = [{ id: '0', worker: 0, load: 0.5, inPackets: 1, chunks: 4096, freeChunks: 9 }];
  const drop = {
    id: 'd',
    kind: 'drop',
    reason: 'no_route',
    rate: 1,
    total: 5,
    meaning: 'No route.',
  };
  return {
    ...{ unixMs: 0, seconds: 1, totals: TOTALS, interfaces: [{ name: 'eth9', up: false }] },
    tables: [{ name: 'connections', used: 5, capacity: 10 }],
    ...{ services, servers: [{ ...server, method: 'nat', weight: 1, state: 'overload' }] },
    ...{ workers, drops: [drop] },
  };
}

const MANY = pictureOf(
  Array.from({ length: 10_000 }, (_value, at) =>
    serviceRow(`tcp 10.0.${at >> 8}.${at & 255}:80`, at),
  ),
);
const FEW = pictureOf(MANY.services.slice(0, 40));
const VIEW = firstView('services', 2000);

function screenOf(picture: Picture | null, view: View, columns: number, rows: number): string[] {
  return makeFrame(picture, view, { columns, rows }, '').lines.map(lineText);
}

/** `view` after keys. */
function after(keys: string, view: View = VIEW, picture: Picture = MANY): View {
  let now = view;
  for (const key of keysOf(keys)) {
    const next = press(now, key, makeFrame(picture, now, { columns: 80, rows: 24 }, ''));
    assert.equal(typeof next, 'object', key);
    now = next as View;
  }
  return now;
}

test('keys as terminals send them', () => {
  assert.deepEqual(keysOf('a1\r\t\x7f\x03'), ['a', '1', 'enter', 'tab', 'backspace', 'interrupt']);
  assert.deepEqual(keysOf('\x1b[A\x1bOB\x1b[5~\x1b[1;5C\x1b'), [
    ...['up', 'down', 'page-up', 'escape'],
  ]);
  assert.deepEqual(keysOf('\x1b[200~\u00e9\x00'), ['\u00e9'], 'what means nothing is left out');
});

describe('what keys do', () => {
  test('sections', () => {
    assert.deepEqual(
      ['1', '2', '3', '4'].map((key) => after(key).section),
      SECTION_NAMES,
    );
    assert.equal(after('\t\t').section, 'workers');
    assert.equal(after('\x1b[Z').section, 'drops');
  });

  test('order: through all columns and back, and round', () => {
    const { columns } = SECTIONS.services;
    assert.deepEqual(after('s'.repeat(columns.length)).orders, VIEW.orders);
    assert.deepEqual(after('sS').orders.services.key, VIEW.orders.services.key);
    assert.deepEqual(after('r').orders.services, { key: 'inPackets', descending: false });
    assert.equal(after('2r').orders.services.descending, true, 'each section has its own');
  });

  test('filter: typed, seen at once, kept or dropped', () => {
    const typing = after('/10.0.7.');
    assert.equal(typing.draft, '10.0.7.');
    assert.equal(makeFrame(MANY, typing, { columns: 80, rows: 24 }, '').ids.length, 256);
    assert.equal(after('\x7f\x7f9\r', typing).filter, '10.0.9');
    assert.equal(after('\x15udp q\r', typing).filter, 'udp q', 'letters are no keys while typing');
    assert.equal(after('\x1b', typing).filter, '');
    assert.equal(after('/a\r\x1b').filter, '', 'Escape drops it later too');
  });

  test('the bar moves over all rows, and Enter goes to the real servers', () => {
    const { ids } = makeFrame(MANY, VIEW, { columns: 80, rows: 24 }, '');
    assert.equal(after('\x1b[B').selected, ids[0]);
    assert.equal(after('\x1b[B\x1b[B\x1b[A').selected, ids[0]);
    assert.equal(after('\x1b[F').selected, ids.at(-1));
    assert.equal(after('\x1b[F\x1b[H').selected, ids[0]);
    const chosen = after('\x1b[B\r');
    assert.deepEqual([chosen.section, chosen.service], ['servers', ids[0]]);
    assert.equal(after('\x1b', chosen).service, null);
    assert.deepEqual(after('\r'), VIEW, 'without a bar there is nothing to enter');
  });

  test('pace, pause, help, end', () => {
    assert.equal(after('+').intervalMs, 1000);
    assert.equal(after('-').intervalMs, 5000);
    assert.equal(after('+'.repeat(20)).intervalMs, 200);
    assert.equal(after('  ').paused, false);
    assert.equal(after(' ').paused, true);
    assert.equal(after('?').help, true);
    assert.equal(after('?x').help, false);
    const listed = { ids: [], height: 10 };
    assert.deepEqual(
      ['q', 'interrupt', 'suspend', 'redraw'].map((key) => press(VIEW, key, listed)),
      [...['quit', 'quit', 'suspend', 'redraw']],
    );
  });
});

describe('a frame', () => {
  test('has as many lines as the terminal, none too long, at any size and section', () => {
    const sizes = fc.record({
      columns: fc.integer({ min: 1, max: 200 }),
      rows: fc.integer({ min: 1, max: 60 }),
    });
    const keys = fc.array(fc.constantFrom('1', '2', '3', '4', 's', 'r', '?', '/', 'x', '\x1b[6~'), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(sizes, keys, fc.boolean(), (size, pressed, isEmpty) => {
        const picture = isEmpty ? null : FEW;
        const view = after(pressed.join(''), VIEW, FEW);
        const { lines } = makeFrame(picture, view, size, 'xvsd does not answer (ENOENT)');
        assert.equal(lines.length, size.rows);
        for (const line of lines) assert.ok(lineText(line).length <= size.columns);
      }),
      { numRuns: 200 },
    );
  });

  test('shows the busiest of ten thousand services, and the row under the bar', () => {
    const shown = screenOf(MANY, VIEW, 100, 24);
    assert.match(shown[4]!, /^tcp 10\.0\.39\.15:80 +wlc +2 .* 10\.0k /);
    assert.match(shown[2]!, /10,000 rows$/);
    const last = screenOf(MANY, after('\x1b[F'), 100, 24);
    assert.match(last.at(-2)!, /^tcp 10\.0\.0\.0:80 /);
    const middle = after('\x1b[B\x1b[6~\x1b[6~');
    assert.ok(
      screenOf(MANY, middle, 100, 24).some((line) => line.startsWith(`${middle.selected} `)),
    );
  });

  test('leaves out columns where there is no room, the least of them first', () => {
    const titles = (columns: number) => screenOf(FEW, VIEW, columns, 10)[3]!.trim().split(/ {2,}/);
    const all = SECTIONS.services.columns.map(({ title }) => title);
    assert.deepEqual(
      titles(120).map((title) => title.replace(/ [v^]$/, '')),
      all,
    );
    for (let columns = 119; columns >= 20; columns--) {
      const fewer = titles(columns);
      assert.equal(fewer[0], 'SERVICE');
      assert.ok(fewer.length <= titles(columns + 1).length);
    }
    assert.equal(screenOf(FEW, VIEW, 23, 10)[4], 'tcp 10.0.0.39:80');
  });

  test('says what is wrong', () => {
    const { lines } = makeFrame(null, VIEW, { columns: 80, rows: 24 }, 'xvsd does not answer');
    assert.equal(lineText(lines[0]!), 'xvs top  xvsd does not answer');
    const [first] = screenOf(MANY, VIEW, 100, 24);
    assert.match(
      first!,
      /^xvs top {2}00:00:00 UTC, every 2 s {2}down: eth9 {2}connections 5 of 10 /,
    );
    assert.match(screenOf(MANY, { ...VIEW, paused: true }, 100, 24)[0]!, /UTC, paused /);
    const overloaded = makeFrame(MANY, after('2'), { columns: 120, rows: 24 }, '').lines[4]!;
    assert.equal(overloaded[0]!.style, 'warning');
  });

  test('the help names every key', () => {
    const shown = screenOf(MANY, after('?'), 80, 24).join('\n');
    for (const [key] of KEYS) assert.ok(shown.includes(`\n${key}`), key);
  });
});

describe('what is written', () => {
  const [columns, rows] = [60, 12];
  const texts = (view: View, picture: Picture, colours = true) =>
    makeFrame(picture, view, { columns, rows }, '').lines.map((line) => encodeLine(line, colours));

  test('turns one frame into the other, whatever they are', () => {
    const pressed = fc.array(fc.constantFrom('1', '2', '3', '4', 's', 'r', '?', '\x1b[B'), {
      maxLength: 5,
    });
    const picture = pictureOf(MANY.services.slice(0, 30));
    fc.assert(
      fc.property(pressed, pressed, (one, other) => {
        const [before, now] = [one, other].map((keys) =>
          texts(after(keys.join(''), VIEW, picture), picture),
        );
        const screen = new TerminalScreen(columns, rows);
        screen.write(difference([], before!));
        screen.write(difference(before!, now!));
        const fresh = new TerminalScreen(columns, rows);
        fresh.write(difference([], now!));
        assert.deepEqual(screen.cells, fresh.cells);
      }),
      { numRuns: 50 },
    );
  });

  test('is nothing when nothing changed, and one line when one did', () => {
    const before = texts(VIEW, MANY);
    assert.equal(difference(before, before), '');
    const now = before.with(5, 'other');
    assert.equal(difference(before, now), '\x1b[?2026h\x1b[6;1Hother\x1b[K\x1b[?2026l');
  });

  test('has no colours under NO_COLOR', () => {
    const dropping = { ...MANY, totals: { ...TOTALS, drops: 5 } };
    assert.ok(texts(VIEW, dropping).some((text) => text.includes('\x1b[1;31m')));
    assert.ok(!texts(VIEW, dropping, false).some((text) => text.includes('31m')));
  });
});
