/** What lblc and lblcr remember: how much, for how long, and that nothing of it stays behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIpv4 } from '#xvs/net/address';
import { Scheduling } from '../../support/scheduling';

const WANTED = 16384;
const MAX = 24576;
const MINUTE = 600;
const DAY = 86_400 * 10;
const CACHES = 0x0b000000;

function remember(scheduling: Scheduling, from: number, count: number): void {
  for (let i = from; i < from + count; i++) {
    const call = { client: '10.0.1.100', destination: formatIpv4(CACHES + i) };
    scheduling.end(scheduling.chooseSlot(call), true);
  }
}
function start(scheduler: string): Scheduling {
  const scheduling = new Scheduling();
  scheduling.start(scheduler);
  scheduling.add(1, 1);
  scheduling.add(2, 1);
  return scheduling;
}
const count = ({ tables, slot }: Scheduling): number => tables.localities.count(slot);

function passMinutes(scheduling: Scheduling, minutes: number): void {
  for (let i = 0; i < minutes; i++) {
    scheduling.tick = (scheduling.tick + MINUTE) | 0;
    scheduling.director.ageLocalities(scheduling.tick);
  }
}

for (const scheduler of ['lblc', 'lblcr']) {
  test(`${scheduler}: at most ${MAX} addresses, beyond them choices go on`, () => {
    const scheduling = start(scheduler);
    remember(scheduling, 0, MAX + 100);
    assert.equal(count(scheduling), MAX);
    const call = { client: '10.0.1.100', destination: formatIpv4(CACHES + MAX + 50) };
    assert.notEqual(scheduling.chooseSlot(call), 0);
  });

  test(`${scheduler}: too many are evicted once idle for six minutes, a chain at a time`, () => {
    const scheduling = start(scheduler);
    remember(scheduling, 0, WANTED + 600);
    passMinutes(scheduling, 5);
    assert.equal(count(scheduling), WANTED + 600, 'not idle for long enough');
    passMinutes(scheduling, 1);
    const left = count(scheduling);
    // 800 are wanted away; the last chain is emptied.
    assert.ok(left <= WANTED - 200 && left > WANTED - 300, `${left} left`);
    passMinutes(scheduling, 20);
    assert.equal(count(scheduling), left, 'few enough');
  });

  test(`${scheduler}: every thirty minutes what was not used for a day goes`, () => {
    const scheduling = start(scheduler);
    remember(scheduling, 0, 100);
    scheduling.tick += DAY / 2;
    remember(scheduling, 0, 40);
    passMinutes(scheduling, 30);
    assert.equal(count(scheduling), 100);
    scheduling.tick += DAY / 2 - 31 * MINUTE;
    passMinutes(scheduling, 29);
    assert.equal(count(scheduling), 100, 'idle for a day less two minutes, and no full sweep yet');
    scheduling.tick += 2 * MINUTE;
    passMinutes(scheduling, 1);
    assert.equal(count(scheduling), 40);
  });

  test(`${scheduler}: ticks that overflow do not matter`, () => {
    const scheduling = start(scheduler);
    scheduling.tick = 0x7fffffff - 2 * MINUTE;
    remember(scheduling, 0, 50);
    passMinutes(scheduling, 60);
    assert.equal(count(scheduling), 50);
  });

  test(`${scheduler}: what is remembered keeps a removed server; a service leaves nothing`, () => {
    const scheduling = start(scheduler);
    remember(scheduling, 0, 10);
    const { realServers } = scheduling.tables;
    const removed = scheduling.serverSlot(2);
    scheduling.remove(2);
    assert.ok(realServers.references(removed) > 0);
    remember(scheduling, 0, 10);
    if (scheduler === 'lblc') assert.equal(realServers.references(removed), 0, 'replaced');
    scheduling.edit('rr');
    assert.equal(count(scheduling), 0);
    assert.equal(realServers.references(removed), 0);
    // `start` asserts that the trash can be emptied.
    scheduling.start(scheduler);
  });
}
