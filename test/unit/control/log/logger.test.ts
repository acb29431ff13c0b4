/** The log's forms, levels, and its bound on what repeats. */
import assert from 'node:assert/strict';
import { fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LEVELS, type Level } from '#xvs/control/log/events';
import { Logger } from '#xvs/control/log/logger';
import { LogOutput } from '#xvs/control/log/output';
import { Repeats } from '#xvs/control/log/repeats';
import { isJournal, type LogFormat } from '#xvs/control/log/text';
import { eventually } from '#xvs/lab/process';

const WAIT_MS = 20_000;

describe('log', () => {
  let folder: string;
  let files = 0;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'xvs-log-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  interface Kept {
    readonly logger: Logger;
    lines(): string[];
  }
  function keep(level: Level = 'info', format: LogFormat = 'text', windowMs = 60_000): Kept {
    const path = join(folder, `log${++files}`);
    const output = new LogOutput(openSync(path, 'a'));
    const logger = new Logger(output, 'text', new Repeats(windowMs, () => 0));
    logger.configure({ level, format });
    return { logger, lines: () => readFileSync(path, 'utf8').split('\n').slice(0, -1) };
  }

  test('text has time, level, event and message', () => {
    const { logger, lines } = keep();
    logger.say('warn', 'link_down', 'interface eth0', { interface: 'eth0' });
    assert.match(
      lines()[0]!,
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warn event=link_down interface eth0$/,
    );
  });

  test('the journal gets a priority instead of the time', () => {
    const { logger, lines } = keep('debug', 'journal');
    for (const level of LEVELS) logger.say(level, 'ready', level);
    assert.deepEqual(lines(), [
      '<3>event=ready error',
      '<4>event=ready warn',
      '<6>event=ready info',
      '<7>event=ready debug',
    ]);
  });

  test('JSON has all fields', () => {
    const { logger, lines } = keep('info', 'json');
    logger.say('info', 'ready', '2 worker(s)', { workers: 2 });
    const { time, ...rest } = JSON.parse(lines()[0]!) as Record<string, unknown>;
    assert.ok(!Number.isNaN(Date.parse(time as string)));
    assert.deepEqual(rest, { level: 'info', event: 'ready', workers: 2, message: '2 worker(s)' });
  });

  test('an event is one line, and brings no terminal command along', () => {
    for (const format of ['text', 'json', 'journal'] as const) {
      const { logger, lines } = keep('info', format);
      logger.say('error', 'worker_died', 'Error: a\n    at b\r\n<0>event=audit \u001b[2Jc\u0085');
      assert.equal(lines().length, 1);
      if (format !== 'json') assert.doesNotMatch(lines()[0]!, /\p{Cc}/u);
      if (format === 'journal') {
        const text = '<3>event=worker_died Error: a | at b | <0>event=audit \\x1b[2Jc\\x85';
        assert.equal(lines()[0], text);
      }
    }
  });

  test('a level leaves out what is less, audit lines never', () => {
    for (const [at, level] of LEVELS.entries()) {
      const { logger, lines } = keep(level, 'json');
      for (const one of LEVELS) logger.say(one, 'ready', one);
      logger.audit('somebody: something: ok', { uid: 1 });
      const said = lines().map((line) => JSON.parse(line) as Record<string, unknown>);
      assert.deepEqual(
        said.map(({ event, message }) => [event, message]),
        [
          ...LEVELS.slice(0, at + 1).map((one) => ['ready', one]),
          ['audit', 'somebody: something: ok'],
        ],
      );
      assert.equal(said.at(-1)!['level'], 'info');
    }
  });

  test('level and format change as it runs; "auto" is what it was made with', () => {
    const { logger, lines } = keep('error', 'json');
    logger.say('info', 'ready', 'not said');
    logger.configure({ level: 'info', format: 'auto' });
    logger.say('info', 'ready', 'said');
    assert.equal(lines().length, 1);
    assert.match(lines()[0]!, /Z info event=ready said$/);
  });

  test('what repeats is said five times, then counted, then told of', async () => {
    const { logger, lines } = keep('info', 'text', 100);
    for (let time = 0; time < 40; time++) {
      logger.say('warn', 'link_down', 'interface eth0');
      logger.say('info', 'link_up', 'interface eth0');
    }
    logger.say('warn', 'link_down', 'interface eth1');
    const told = () => lines().filter((line) => line.includes(' more within '));
    assert.ok(await eventually(() => told().length === 2, WAIT_MS), lines().join('\n'));
    assert.match(told()[0]!, / warn event=link_down 35 more within 0.1 s: interface eth0$/);
    assert.match(told()[1]!, / info event=link_up 35 more within 0.1 s: interface eth0$/);
    assert.equal(lines().length, 5 + 5 + 1 + 2);
    assert.equal(logger.suppressed, 70);
    assert.equal(logger.written.warn, 5 + 1 + 1);
    logger.say('warn', 'link_down', 'interface eth0');
    assert.equal(lines().length, 14, 'a new while has begun');
  });

  test('the end tells of what is held back; audit lines are not', () => {
    const { logger, lines } = keep();
    for (let time = 0; time < 9; time++) {
      logger.say('warn', 'link_down', 'interface eth0');
      logger.audit('root: xvsadm -Z: ok', {});
    }
    logger.flush();
    assert.equal(lines().filter((line) => line.includes('event=audit')).length, 9);
    assert.match(lines().at(-1)!, /4 more within 60 s: interface eth0$/);
  });

  test('however many lines differ, few are remembered', () => {
    const repeats = new Repeats();
    let told = 0;
    const tell = (held: number): void => {
      told += held;
    };
    for (let time = 0; time < 8; time++) repeats.allows('first', tell);
    for (let line = 0; line < 5000; line++) assert.ok(repeats.allows(`line ${line}`, tell));
    assert.equal(told, 3, 'what made room has told of what it held back');
  });

  test('a log that was lost says so when it is back', () => {
    const full = new LogOutput(openSync('/dev/full', 'a'));
    const path = join(folder, 'back');
    const back = new LogOutput(openSync(path, 'a'));
    // One output whose disk gets room again.
    const output = {
      get lost() {
        return full.lost;
      },
      write: (line: string) => (isBack ? back : full).write(line),
      flush: () => undefined,
    };
    let isBack = false;
    const logger = new Logger(output as unknown as LogOutput, 'text');
    for (let line = 0; line < 3; line++) logger.say('info', 'ready', `${line}`);
    isBack = true;
    logger.say('info', 'ready', 'back');
    logger.say('info', 'ready', 'again');
    const said = readFileSync(path, 'utf8').trimEnd().split('\n');
    assert.deepEqual(
      said.map((line) => line.replace(/^\S+ /, '')),
      [
        'info event=ready back',
        'warn event=log_lost 3 lines of this log were lost',
        'info event=ready again',
      ],
    );
  });
});

test('the journal is told by the stream that systemd names', () => {
  const { dev, ino } = fstatSync(0, { bigint: true });
  assert.equal(isJournal(0, { JOURNAL_STREAM: `${dev}:${ino}` }), true);
  assert.equal(isJournal(0, { JOURNAL_STREAM: `${dev}:${ino + 1n}` }), false);
  assert.equal(isJournal(0, {}), false);
  assert.equal(isJournal(0x7fff, { JOURNAL_STREAM: `${dev}:${ino}` }), false);
});
