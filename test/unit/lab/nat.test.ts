/**
 * What a lab takes for strict alternation.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { strictlyAlternate } from '#xvs/lab/script';

const SERVERS = ['one', 'two'];

test('two servers in turn are in turn, whoever is first', () => {
  assert.ok(strictlyAlternate(['one', 'two', 'one', 'two'], SERVERS));
  assert.ok(strictlyAlternate(['two', 'one', 'two', 'one'], SERVERS));
});

test('everything else is not', () => {
  assert.ok(!strictlyAlternate(['one', 'one', 'two', 'two'], SERVERS));
  assert.ok(!strictlyAlternate(['one', 'two', 'two', 'one'], SERVERS));
  assert.ok(!strictlyAlternate(['one', 'one', 'one', 'one'], SERVERS));
  assert.ok(!strictlyAlternate(['one', '', 'one', ''], SERVERS));
  assert.ok(!strictlyAlternate(['one', 'three', 'one', 'three'], SERVERS));
  assert.ok(!strictlyAlternate([], SERVERS), 'no answer is no alternation');
  assert.ok(!strictlyAlternate(['one'], SERVERS));
});
