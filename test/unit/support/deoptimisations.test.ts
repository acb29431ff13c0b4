import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deoptimisationsIn } from '../../support/deoptimisations';

const EAGER =
  'code-deopt,5532318,14016,0x7f9e,0,1139,deopt-eager,</x/dist/port/xdpPort.js:35:32> ' +
  'inlined at </x/dist/worker/loop.js:117:24>,wrong map';
const OWN =
  'code-deopt,2705712,14208,0x7f95,-1,6327,dependency-change,' +
  '<specialized processBurst 5:1:42>,code dependencies';
const NODE = 'code-deopt,101639,2112,0x7f48,-1,3649,deopt-eager,<node:path:113:55>,wrong map';

test('what V8 logs of our code counts, also of code made for one worker; of Node’s not', () => {
  const log = ['v8-version,11,3,244,8,-node.33,0', EAGER, NODE, OWN, ''].join('\n');
  assert.deepEqual(deoptimisationsIn(log), [EAGER, OWN]);
});
