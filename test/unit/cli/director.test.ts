/** Recorded sessions against the real director and its admin socket, as far as its features go. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Director } from '#xvs/control/director';
import { listServices } from '#xvs/control/listing';
import { AdminSocket } from '#xvs/control/socket';
import { attachTables, createMemory } from '#xvs/table/memory';
import { describeDifferences, runCliGoldens, runInProcess } from '../../support/cliGolden';

const SESSIONS = readdirSync(join(__dirname, '../../../../test/goldens/cli'), {
  withFileTypes: true,
})
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  // Connection synchronisation is not there: docs/compatibility.md.
  .filter((name) => name !== 'daemon');
const NO_CONNECTIONS = new TextEncoder().encode('{"connections":[]}');

let folder = '';
let admin: AdminSocket;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'xvs-cli-'));
  const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
  const director = new Director(attachTables(memory, () => {}));
  admin = new AdminSocket(join(folder, 'xvs.sock'), {
    services: () => listServices(director),
    connections: async () => NO_CONNECTIONS,
    timeouts: () => director.timeouts,
    execute: (command) => director.execute(command),
  });
  await admin.open();
});

after(async () => {
  await admin.close();
  rmSync(folder, { recursive: true, force: true });
});

for (const name of SESSIONS) {
  test(`recorded session ${name}`, async () => {
    const report = await runCliGoldens({ socketPath: admin.path, names: [name] });
    assert.equal(report.differences.length, 0, describeDifferences(report.differences));
  });
}

test('what the director does not have is refused in its own words', async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['--start-daemon master', /^connection sync: not supported by this director\n$/],
    ['--stop-daemon backup', /^connection sync: not supported by this director\n$/],
  ];
  for (const [line, stderr] of cases) {
    const outcome = await runInProcess(line.split(' '), admin.path);
    assert.deepEqual([outcome.rc, outcome.stdout], [255, ''], line);
    assert.match(outcome.stderr, stderr);
  }
  const daemons = await runInProcess(['-L', '--daemon'], admin.path);
  assert.deepEqual(daemons, { rc: 0, stdout: '', stderr: '' });
});

test('a saved table is restored to the same bytes', async () => {
  const rules = [
    '-A -t 10.1.1.1:80 -s rr',
    '-a -t 10.1.1.1:80 -r 10.2.2.1:80 -m -w 1',
    '-a -t 10.1.1.1:80 -r 10.2.2.2:8080 -m -w 0',
    '-A -u 10.1.1.1:53 -s rr',
    '-a -u 10.1.1.1:53 -r 10.2.2.1:53 -m -w 7',
    '',
  ].join('\n');
  const outcome = (stdout: string) => ({ rc: 0, stdout, stderr: '' });
  assert.deepEqual(await runInProcess(['-C'], admin.path), outcome(''));
  assert.deepEqual(await runInProcess(['-R'], admin.path, rules), outcome(''));
  assert.deepEqual(await runInProcess(['-Sn'], admin.path), outcome(rules));
});
