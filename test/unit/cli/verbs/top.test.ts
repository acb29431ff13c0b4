/** `xvs top` as plain text and JSON, against a director without a NIC. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { serviceTraffic } from '#xvs/table/counter';
import { serverSettings, serviceKey, serviceSettings } from '../../../support/simulation';
import { Stand } from './director';

const SERVICES = 12;
let stand: Stand;

before(async () => {
  stand = new Stand(1024);
  await stand.open();
  for (let port = 1; port <= SERVICES; port++) {
    const service = serviceKey({ port });
    const settings = serviceSettings({ scheduler: 'rr' });
    stand.director.execute({ command: 'add-service', service, settings });
    const server = { family: 4, address: '10.0.2.11', port } as const;
    stand.director.execute({
      ...{ command: 'add-server', service, server, settings: serverSettings() },
    });
    const { slot } = stand.director.find(service)!;
    stand.director.tables.counters[0]![serviceTraffic(slot)] = 100 * port;
  }
});
after(() => stand.close());

const top = (...words: string[]) => stand.run(['top', '--interval', '0.2', ...words]);

test('--once shows every section', async () => {
  const { status, stdout, stderr } = await top('--once');
  assert.deepEqual([status, stderr], [0, '']);
  const [head = '', services = '', servers = '', workers = '', drops = ''] = stdout.split('\n\n');
  assert.match(head, /^\d{4}-\d\d-\d\dT\S+ {2}over 0\.\d s {2}eth0 DOWN\nin 0 pkt\/s/);
  assert.match(head, /services 12 of 65,536/);
  assert.equal(services.trim().split('\n').length, 2 + SERVICES);
  assert.equal(servers.trim().split('\n').length, 2 + SERVICES);
  assert.match(workers, /^Workers\nWORKER +LOAD /);
  assert.match(drops, /^xdp +redirect_service +0 +7 /m);
});

test('--section, --sort, --filter and --limit choose', async () => {
  const { stdout } = await top(
    '--once',
    '--section',
    'services',
    '--sort',
    'conns',
    '--limit',
    '2',
  );
  const rows = stdout.split('\n\n')[1]!.trim().split('\n').slice(2);
  assert.deepEqual([rows.length, rows[2]], [3, '... and 10 more']);
  assert.match(rows[0]!, /^tcp \S+:12 .* 1\.20k$/);
  const turned = await top('--json', '--section', 'services', '--sort', '-conns', '--limit', '1');
  assert.equal(JSON.parse(turned.stdout).services[0].connectionsTotal, 100);
  const found = await top('--json', '--section', 'servers', '--filter', ':7 nat');
  assert.deepEqual(
    JSON.parse(found.stdout).servers.map(({ server }: { server: string }) => server),
    ['10.0.2.11:7'],
  );
});

test('--json writes a line a picture, and knows rates from the first', async () => {
  const { stdout } = await top('--json', '--count', '2');
  const pictures = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(pictures.length, 2);
  for (const { seconds, services, drops } of pictures) {
    assert.ok(seconds >= 0.19, String(seconds));
    assert.equal(services.length, SERVICES);
    assert.equal(services[0].inPackets, 0);
    assert.ok(drops.length > 30);
  }
});

test('what makes no sense is said', async () => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [[], 'top: standard output is no terminal; say --once, --count N or --json'],
    [['--once', '--count', '2'], '--once and --count: one of them is allowed'],
    [
      ['--once', '--section', 'server'],
      '--section server: allowed are services, servers, workers, drops',
    ],
    [['--once', '--sort', 'conns'], '--sort conns: --section has to say of what'],
    [['--once', '--section', 'drops', '--sort', 'x'], '--sort x: columns of drops are "KIND", '],
    [['--once', 'web'], 'top web: only options are allowed'],
    [['--count', 'x'], '--count x: 0 to 1000000000 are allowed'],
  ];
  for (const [words, said] of cases) {
    const { status, stderr } = await top(...words);
    assert.equal(status, 2, words.join(' '));
    assert.ok(stderr.startsWith(`xvs: ${said}`), stderr);
  }
  for (const interval of ['0.1', '3601', 'x', '-1', '1e3']) {
    const { status, stderr } = await stand.run(['top', '--once', `--interval=${interval}`]);
    assert.equal(status, 2);
    assert.match(stderr, /0\.2 to 3600 seconds are allowed/);
  }
});
