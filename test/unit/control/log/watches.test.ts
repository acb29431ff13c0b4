/** What the log tells of the workers' tables: drops, and the defense that begins by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Defense } from '#xvs/control/defense';
import { Director } from '#xvs/control/director';
import { DefenseWatch } from '#xvs/control/log/defenseWatch';
import { DropWatch } from '#xvs/control/log/dropWatch';
import { DROP } from '#xvs/table/counter';
import { attachTables, createMemory } from '#xvs/table/memory';

test('drops are told of when they begin and each minute that they go on', () => {
  const memory = createMemory({ workers: 2, connectionCapacity: 1024, hashSeed: 1 });
  const { counters } = attachTables(memory, () => {});
  const said: string[] = [];
  const watch = new DropWatch(counters, (level, event, message, fields) =>
    said.push(`${level} ${event} ${fields?.['packets']}: ${message.split(':')[0]}`),
  );
  const drop = (worker: number, reason: keyof typeof DROP, packets: number): void => {
    counters[worker]![DROP[reason]]! += packets;
  };
  const SECOND_MS = 1000;
  watch.look(0);
  assert.deepEqual(said, []);
  drop(0, 'table_full', 3);
  drop(1, 'table_full', 4);
  drop(1, 'ttl_exceeded', 5);
  watch.look(5 * SECOND_MS);
  drop(0, 'table_full', 100);
  drop(0, 'neighbour_queue_full', 1);
  watch.look(10 * SECOND_MS);
  watch.look(64 * SECOND_MS);
  drop(0, 'table_full', 1);
  watch.look(65 * SECOND_MS);
  watch.look(500 * SECOND_MS);
  assert.deepEqual(said, [
    'warn table_full 7: 7 packets dropped, table_full',
    'warn neighbour_unresolved 1: 1 packets dropped, neighbour_queue_full',
    'warn table_full 101: 101 packets dropped, table_full',
  ]);
});

test('a defense is told of when it begins and ends by itself, not when it was ordered', () => {
  const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
  const director = new Director(attachTables(memory, () => {}));
  const said: string[] = [];
  const watch = new DefenseWatch(director, (level, event, message) =>
    said.push(`${level} ${event} ${message.split(':')[0]}`),
  );
  const defense = new Defense(director);
  const second = (values: Readonly<Record<string, number>>): void => {
    director.sysctls.set(values);
    defense.second();
    watch.look();
  };
  second({ drop_entry: 3, amemthresh: 0 });
  second({ drop_entry: 1, secure_tcp: 1 });
  assert.deepEqual(said, []);
  second({ amemthresh: 100_000 });
  second({});
  assert.deepEqual(said.splice(0), ['warn defense_on drop_entry', 'warn defense_on secure_tcp']);
  second({ amemthresh: 0 });
  assert.deepEqual(said, ['info defense_off drop_entry', 'info defense_off secure_tcp']);
});
