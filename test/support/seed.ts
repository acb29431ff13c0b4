/**
 * Loaded before each test file by the runner: properties of a run start from the run's seed, which
 * the runner prints. Files without properties do not pay for loading fast-check.
 */
import { readFileSync } from 'node:fs';

const seed = process.env['XVS_TEST_SEED'];
const file = process.argv[1];
if (seed !== undefined && file?.endsWith('.test.js')) {
  if (readFileSync(file, 'utf8').includes('require("fast-check")')) {
    const fastCheck = require('fast-check') as typeof import('fast-check');
    fastCheck.configureGlobal({ ...fastCheck.readConfigureGlobal(), seed: Number(seed) });
  }
}
