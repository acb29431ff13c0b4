/** Counters as `xvs doctor` judges them, and the cause of each drop and pass reason. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diagnose } from '#xvs/control/doctor/diagnose';
import type { DaemonFacts } from '#xvs/control/doctor/facts';
import type { Finding } from '#xvs/control/doctor/finding';
import { DROP_CAUSES, PASS_CAUSES } from '#xvs/control/doctor/reasonCauses';
import type { DaemonState } from '#xvs/control/doctor/state';
import { DROP_REASONS, PASS_REASONS } from '#xvs/table/counter';
import { facts, link, state } from '../../../support/doctorFacts';

function wrong(daemon: Partial<DaemonFacts>): Finding[] {
  return diagnose(facts({ daemon })).filter(({ severity }) => severity !== 'ok');
}

function grown(kind: 'drops' | 'passes', reason: string): Partial<DaemonFacts> {
  return {
    before: state({ [kind]: { ...state()[kind], [reason]: 5 } }),
    after: state({ [kind]: { ...state()[kind], [reason]: 8 } }),
  };
}

test('every drop reason has a cause and a remedy, and is told when it grows', () => {
  assert.deepEqual(Object.keys(DROP_CAUSES).sort(), [...DROP_REASONS].sort());
  for (const reason of DROP_REASONS) {
    const { cause, remedy, severity } = DROP_CAUSES[reason];
    assert.match(cause, /^[A-Z].*\.$/, reason);
    assert.ok(remedy.length > 0, reason);
    assert.notEqual(severity, 'usual', reason);
    const found = wrong(grown('drops', reason));
    assert.deepEqual(
      found.map(({ check, subject }) => [check, subject]),
      [[`drop-${reason.replaceAll('_', '-')}`, reason]],
    );
    assert.match(found[0]!.seen, /^3 frame\(s\) dropped just now, 8 since the start$/);
    assert.ok(found[0]!.why.endsWith(cause));
  }
});

test('every pass reason has a cause; what belongs to a healthy director is not told', () => {
  assert.deepEqual(Object.keys(PASS_CAUSES).sort(), [...PASS_REASONS].sort());
  for (const reason of PASS_REASONS) {
    const { cause, remedy, severity } = PASS_CAUSES[reason];
    assert.match(cause, /^[A-Z].*\.$/, reason);
    const found = wrong(grown('passes', reason));
    assert.equal(found.length, severity === 'usual' ? 0 : 1, reason);
    assert.equal(remedy.length === 0, severity === 'usual', reason);
  }
});

test('a reason that does not grow is told with --verbose only', () => {
  const drops = { ...state().drops, malformed: 5 };
  const daemon = { before: state({ drops }), after: state({ drops }) };
  assert.deepEqual(wrong(daemon), []);
  const fine = diagnose(facts({ daemon })).find(({ subject }) => subject === 'malformed');
  assert.equal(fine?.seen, '5 since the start');
});

test('a table that is nearly full, a UMEM that is nearly empty', () => {
  const full = wrong({ after: state({ connections: { capacity: 1000, entries: 900 } }) });
  assert.deepEqual(
    full.map(({ check, seen }) => [check, seen]),
    [['table', '900 of 1000 connections']],
  );
  assert.deepEqual(wrong({ after: state({ connections: { capacity: 1000, entries: 899 } }) }), []);
  const workers = state().workers.map((worker, at) => ({
    ...worker,
    freeChunks: at === 0 ? 184 : 185,
  }));
  const [umem, ...others] = wrong({ after: state({ workers }) });
  assert.deepEqual(others, []);
  assert.equal(umem?.subject, 'worker 0');
});

test('counters of sockets that grow', () => {
  const withCounter = (value: number): DaemonState => {
    const { workers } = state();
    const counted = workers.map((worker) => ({
      ...worker,
      sockets: worker.sockets.map((socket) => ({
        ...socket,
        counters: { kernelRxRingFull: value },
      })),
    }));
    return state({ workers: counted });
  };
  const found = wrong({ before: withCounter(1), after: withCounter(4) });
  assert.deepEqual(
    found.map(({ check, subject, seen }) => [check, subject, seen]),
    ['eth0', 'eth1'].map((name) => [
      'socket-kernelRxRingFull',
      name,
      'kernelRxRingFull grew by 6, to 8',
    ]),
  );
});

test('a TAP device that is gone or down', () => {
  const { links } = facts().host;
  const others = links.filter(({ name }) => name !== 'xvs1');
  const of = (changed: typeof links) =>
    diagnose(facts({ host: { links: changed } })).filter(({ severity }) => severity === 'error');
  assert.match(of(others)[0]!.seen, /gone/);
  const down = of([...others, link('xvs1', { up: false })]);
  assert.deepEqual(down[0]!.remedy, ['ip link set xvs1 up']);
});
