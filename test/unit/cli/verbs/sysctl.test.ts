/** `xvs sysctl`, and sysctls as part of a config file. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { SYSCTLS } from '#xvs/control/sysctl';
import { Stand } from './director';

const CONFIG = 'interfaces: [{ name: eth0 }]\n';
let stand: Stand;

before(async () => {
  stand = new Stand(1024);
  await stand.open();
});
after(() => stand.close());

const sysctl = (...words: string[]) => stand.run(['sysctl', ...words]);

test('lists all, or those named', async () => {
  const all = await sysctl();
  assert.equal(all.status, 0);
  const lines = Object.entries(SYSCTLS).map(([name, { standard }]) => `${name} = ${standard}\n`);
  assert.equal(all.stdout, lines.join(''));
  const some = await sysctl('net.ipv4.vs.conn_reuse_mode', 'net/ipv4/vs/am_droprate');
  assert.equal(some.stdout, 'am_droprate = 10\nconn_reuse_mode = 1\n');
  const json = await sysctl('--json', 'amemthresh');
  assert.deepEqual(JSON.parse(json.stdout), { amemthresh: 1024 });
});

test('sets, and says what there is then', async () => {
  const set = await sysctl('sloppy_tcp=1', 'net.ipv4.vs.lblc_expiration=60', 'drop_entry');
  assert.deepEqual(set, {
    status: 0,
    stderr: '',
    stdout: 'drop_entry = 0\nlblc_expiration = 60\nsloppy_tcp = 1\n',
  });
  const { settings } = stand.director.tables;
  assert.deepEqual([settings.sloppyTcp, settings.lblcExpiration], [1, 600]);
  await sysctl('sloppy_tcp=0', 'lblc_expiration=86400');
});

test('what is wrong is said, and nothing of the line is done', async () => {
  const cases: readonly (readonly [readonly string[], number, string])[] = [
    [['cache_bypass=1', 'conn_reuse_mode=4'], 1, 'sysctl conn_reuse_mode 4: 0 to 3 are allowed'],
    [['cache_bypass=1', 'am_droprate=-1'], 1, 'sysctl am_droprate -1: 1 to 2147483647 are allowed'],
    [['cache_bypass=1', 'bogus'], 1, 'sysctl "bogus" is unknown; allowed are am_droprate, '],
    [['cache_bypass=1', 'toString=1'], 1, 'sysctl "toString" is unknown; allowed are '],
    [['sync_version=1'], 1, 'sysctl sync_version: has no meaning here: this version does not'],
    [['cache_bypass=yes'], 2, 'sysctl cache_bypass=yes: a whole number is allowed'],
    [['cache_bypass='], 2, 'sysctl cache_bypass=: a whole number is allowed'],
    [['cache_bypass=1', 'cache_bypass=0'], 2, 'sysctl cache_bypass: is given twice'],
    [['=1'], 2, 'sysctl =1: a name is missing'],
  ];
  for (const [words, status, said] of cases) {
    const outcome = await sysctl(...words);
    assert.deepEqual([outcome.status, outcome.stdout], [status, ''], words.join(' '));
    assert.ok(outcome.stderr.startsWith(`xvs: ${said}`), outcome.stderr);
    assert.equal(stand.director.sysctls.value('cache_bypass'), 0);
  }
});

test('a config file sets those it names and gives the others their default', async () => {
  const apply = async (text: string, ...options: string[]) => {
    const path = join(stand.folder, 'xvs.yaml');
    writeFileSync(path, text);
    return stand.run(['apply', ...options, path]);
  };
  await sysctl('sloppy_tcp=1');
  const text = `${CONFIG}sysctl: { expire_nodest_conn: 1, drop_entry: 1 }\n`;
  const dry = await apply(text, '--dry-run');
  assert.match(dry.stdout, /; sysctl drop_entry 1, expire_nodest_conn 1, sloppy_tcp 0\n/);
  assert.equal(stand.director.sysctls.value('sloppy_tcp'), 1);
  assert.equal((await apply(text)).stdout.replace('applied', 'would be done'), dry.stdout);
  const { sysctls } = stand.director;
  assert.deepEqual(
    ['sloppy_tcp', 'expire_nodest_conn', 'drop_entry'].map((name) => sysctls.value(name)),
    [0, 1, 1],
  );
  sysctls.noteMode('drop_entry', 2);
  assert.doesNotMatch((await apply(text)).stdout, /sysctl/, 'mode 1 has become 2 by itself');
  const rules = await stand.run(['apply', '-'], '-A -t 10.0.0.1:80 -s rr\n');
  assert.doesNotMatch(rules.stdout, /sysctl/);
  assert.equal(sysctls.value('expire_nodest_conn'), 1);
});

test('a file that cannot be taken leaves them alone', async () => {
  const before = { ...stand.director.sysctls.values };
  const wrong = [
    'sysctl: { sloppy_tcp: 1 }\nservices: [{ tcp: 10.0.0.1:80, scheduler: nonesuch }]\n',
    'sysctl: { sloppy_tcp: 1, cache_bypass: 2 }\n',
  ];
  for (const text of wrong) {
    const outcome = await stand.run(['apply', '-'], CONFIG + text);
    assert.equal(outcome.status, 1, text);
  }
  assert.deepEqual(stand.director.sysctls.values, before);
});
