/** Round robin in small: list order, weights that do not count, what an unknown number does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SCHEDULER_NAMES, schedulerNumber } from '#xvs/scheduler/index';
import { Scheduling } from '../../support/scheduling';

test('each of n servers gets one of n connections, the newest first', () => {
  const scheduling = new Scheduling();
  scheduling.start('rr');
  for (const [at, weight] of [1, 5, 100, 1].entries()) scheduling.add(at + 1, weight);
  assert.equal(scheduling.sequence(12, false), 'DCBADCBADCBA', 'weights above 0 do not count');
});

test('a place in the list survives servers added, removed, quiesced', () => {
  const scheduling = new Scheduling();
  scheduling.start('rr');
  for (const number of [1, 2, 3]) scheduling.add(number, 1);
  assert.equal(scheduling.sequence(2, false), 'CB');
  scheduling.add(4, 1);
  assert.equal(scheduling.sequence(2, false), 'AD');
  scheduling.remove(4);
  assert.equal(scheduling.sequence(2, false), 'CB', 'the head was removed: from the start');
  scheduling.remove(2);
  assert.equal(scheduling.sequence(1, false), 'A', 'goes on after the predecessor');
  scheduling.change(3, 0);
  assert.equal(scheduling.sequence(3, false), 'AAA');
  scheduling.change(1, 0);
  assert.equal(scheduling.sequence(2, false), '--');
});

test('a scheduler is known by name and number; an unknown number chooses nobody', () => {
  assert.equal(schedulerNumber('rr'), SCHEDULER_NAMES.indexOf('rr'));
  for (const name of ['nonesuch', 'RR', '']) assert.equal(schedulerNumber(name), -1, name);
  const scheduling = new Scheduling();
  scheduling.start('rr');
  scheduling.add(1, 1);
  scheduling.tables.services.setScheduler(scheduling.slot, 999);
  assert.equal(scheduling.choose({ client: '10.0.0.1' }), 0);
});

test('the scheduler none chooses nobody; with another one the service goes on', () => {
  const scheduling = new Scheduling();
  scheduling.start('none');
  for (const number of [1, 2]) scheduling.add(number, 1);
  assert.equal(scheduling.sequence(2, false), '--');
  for (const name of SCHEDULER_NAMES) {
    scheduling.edit(name);
    const chosen = scheduling.choose({ client: '10.0.0.1' });
    assert.ok(chosen === 1 || chosen === 2, `${name} chose ${chosen}`);
    scheduling.end(scheduling.serverSlot(chosen), true);
    scheduling.edit('none');
    assert.equal(scheduling.choose({ client: '10.0.0.1' }), 0, `none after ${name}`);
  }
});
