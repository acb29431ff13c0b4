/** twos draws at random: what can be said of its draws, and that a seed repeats them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ScheduleRequest } from '#xvs/scheduler/request';
import { Scheduling } from '../../support/scheduling';

const DRAWS = 60_000;

function counts(scheduling: Scheduling, draws: number): Map<number, number> {
  const seen = new Map<number, number>();
  for (let i = 0; i < draws; i++) {
    const number = scheduling.choose({ client: '10.0.1.100' });
    seen.set(number, (seen.get(number) ?? 0) + 1);
    if (number !== 0) scheduling.end(scheduling.serverSlot(number), true);
  }
  return seen;
}

function expectShare(seen: Map<number, number>, number: number, share: number): void {
  const got = (seen.get(number) ?? 0) / DRAWS;
  assert.ok(Math.abs(got - share) < 0.01, `server ${number}: ${got}, expected ${share}`);
}

test('of equally loaded servers the first drawn wins: shares are as the weights', () => {
  const scheduling = new Scheduling();
  scheduling.start('twos');
  scheduling.add(1, 50);
  scheduling.add(2, 30);
  scheduling.add(3, 20);
  const seen = counts(scheduling, DRAWS);
  // Draws go from 0 to the sum: the head, server 3, has 21 of 101.
  expectShare(seen, 3, 21 / 101);
  expectShare(seen, 2, 30 / 101);
  expectShare(seen, 1, 50 / 101);
});

test('a loaded server is chosen only when it is drawn twice', () => {
  const scheduling = new Scheduling();
  scheduling.start('twos');
  scheduling.add(1, 1);
  scheduling.add(2, 1);
  for (let i = 0; i < 3; i++) scheduling.tables.realServers.bind(scheduling.serverSlot(1), true);
  const seen = counts(scheduling, DRAWS);
  // Draws are 0, 1, 2; only 2 is server 1, the tail.
  expectShare(seen, 1, 1 / 9);
  expectShare(seen, 2, 8 / 9);
});

test('quiesced and overloaded servers are not drawn; without others there is none', () => {
  const scheduling = new Scheduling();
  scheduling.start('twos');
  scheduling.add(1, 5);
  scheduling.add(2, 0);
  scheduling.add(3, 5, { upperThreshold: 1 });
  scheduling.tables.realServers.bind(scheduling.serverSlot(3), true);
  assert.deepEqual([...counts(scheduling, 200)], [[1, 200]]);
  scheduling.change(1, 0);
  assert.deepEqual([...counts(scheduling, 20)], [[0, 20]]);
});

test('a seed gives its draws again, another seed others', () => {
  const draws = (seed: number): number[] => {
    const request = new ScheduleRequest(1, seed);
    return Array.from({ length: 500 }, () => request.draw(1000));
  };
  assert.deepEqual(draws(7), draws(7));
  assert.notDeepEqual(draws(7), draws(8));
  assert.ok(
    draws(0).some((value) => value !== draws(0)[0]),
    'seed 0 draws too',
  );
  const all = draws(99);
  assert.ok(all.every((value) => Number.isInteger(value) && value >= 0 && value < 1000));
});
