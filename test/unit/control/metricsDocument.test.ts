/** docs/metrics.md says what the exporter says. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { METRICS_FILE, metricsDocument } from '../../support/metricsDocument';

test('docs/metrics.md is current', async () => {
  assert.equal(readFileSync(METRICS_FILE, 'utf8'), await metricsDocument());
});
