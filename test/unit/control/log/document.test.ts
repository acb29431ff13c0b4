/** docs/operating.md lists every event there is, and none that is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENTS } from '#xvs/control/log/events';
import { readDocument } from '../../../support/document';

test('docs/operating.md lists the events with their meanings', () => {
  const [, listed = ''] = readDocument('docs/operating.md').split(
    '| event | means |\n| --- | --- |\n',
  );
  const rows = listed.split('\n\n')[0]!.trimEnd().split('\n');
  assert.deepEqual(
    rows,
    Object.entries(EVENTS).map(([name, meaning]) => `| \`${name}\` | ${meaning} |`),
  );
});
