/**
 * The debug build knows where every chunk is, and refuses one that is handed over from the wrong
 * place. Builds it first (nothing to do when it is up to date).
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Lab } from './support';

const PACKAGE = join(__dirname, '..', '..', '..', 'native', 'xsk-napi');
const ADDON = join(PACKAGE, 'build', 'Debug', 'xsk.node');

describe('the debug build', { timeout: 170_000 }, () => {
  const lab = new Lab();
  before(() => {
    execFileSync(process.execPath, [join(PACKAGE, 'build.js'), '--debug'], { stdio: 'pipe' });
    lab.pair('xvsno0', 'xvsno1');
  });
  after(() => lab.remove());

  it('names chunk, owner and expected owner', () => {
    const text = execFileSync(process.execPath, [`${__dirname}/ownershipScript.js`], {
      encoding: 'utf8',
      env: { ...process.env, XSK_NAPI_PATH: ADDON },
    });
    const found = JSON.parse(text);
    assert.equal(found.correctUse, 'no complaint');
    assert.match(found.txOfFree, /chunk \d+ is owned by free stack, expected worker$/);
    assert.match(
      found.txTwice,
      /chunk \d+ is owned by (tx|completion) ring of xvsno1 queue 0, expected worker$/,
    );
    assert.match(
      found.freeOfFilled,
      /chunk \d+ is owned by fill ring of xvsno0 queue 0, expected free stack$/,
    );
    assert.match(found.freeOfSent, /chunk \d+ is owned by free stack, expected tx ring$/);
    assert.match(
      found.txOfReceived,
      /chunk \d+ is owned by rx ring of xvsno0 queue 0, expected worker$/,
    );
  });

  it('has no complaint about the forwarding tests', () => {
    const environment: NodeJS.ProcessEnv = { ...process.env, XSK_NAPI_PATH: ADDON };
    delete environment['NODE_TEST_CONTEXT']; // else the child would report to our own runner
    const text = execFileSync(process.execPath, [`${__dirname}/forward.test.js`], {
      encoding: 'utf8',
      env: environment,
    });
    assert.match(text, /^(# |ℹ )fail 0$/m);
    assert.match(text, /^(# |ℹ )pass [1-9]/m);
  });
});
