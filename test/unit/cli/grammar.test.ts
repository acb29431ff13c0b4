/** The grammar beyond what was recorded: order of words, clusters, texts of errors, defaults. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRequest } from '#xvs/cli/grammar';
import { parseServices } from '#xvs/cli/names';
import { UsageError } from '#xvs/cli/request';
import { splitRules } from '#xvs/cli/restore';
import { parseHosts, parseRules } from '#xvs/cli/rules';
import { takeOwnOptions } from '#xvs/cli/xvsadm';
import type { Command } from '#xvs/control/protocol';
import { RECORDED_SOURCE } from '../../support/cliGolden';

function parse(line: string, json = false) {
  const words = line === '' ? [] : line.split(' ');
  return parseRequest(words, 'xvsadm', RECORDED_SOURCE, json);
}

function commandOf(line: string): Command {
  const request = parse(line);
  assert.equal(request.kind, 'command', line);
  return (request as { command: Command }).command;
}

const TRY_HELP = "Try `xvsadm -h' or 'xvsadm --help' for more information.";
const REFUSED: readonly (readonly [string, number, string])[] = [
  ['', 255, TRY_HELP],
  ['-n', 255, TRY_HELP],
  ['-qL', 255, TRY_HELP],
  ['--nosuch', 255, TRY_HELP],
  ['--list=5', 255, TRY_HELP],
  ['word', 255, TRY_HELP],
  ['-L --nosuch', 255, '--nosuch: unknown option'],
  ['-L -nq', 255, '-nq: unknown option'],
  ['-L --stats=1', 255, '--stats=1: option does not take an argument'],
  ['-L -n=1', 255, '-n=1: option does not take an argument'],
  ['-A -s', 255, '-s: missing argument'],
  ['-A -t 1.1.1.1:1 -D', 2, "invalid option `-D'"],
  ['-L --start-daemon master', 2, "invalid option `master'"],
  ['-L word', 2, 'unexpected argument word'],
  ['-L -', 2, 'unexpected argument -'],
  ['word -L', 2, 'unexpected argument word'],
  ['-L -- -n', 2, 'unexpected argument -n'],
  ['-L -n -n', 2, "multiple 'numeric' options specified"],
  ['-A -t 1.1.1.1:1 -u 1.1.1.1:1', 2, "multiple 'service-address' options specified"],
  ['-a -t 1.1.1.1:1 -r 2.2.2.2 -m -g', 2, "multiple 'forwarding-method' options specified"],
  ['-A -t 1.1.1.1', 2, 'Zero port specified for non-persistent service'],
  ['-A -t 1.1.1.1:1 -b sh-port', 2, "incompatible scheduler flag `sh-port'"],
  ['-A -t 1.1.1.1:1 -s mh -b sh-port', 2, "incompatible scheduler flag `sh-port'"],
  ['-A -t 1.1.1.1:1 -b nosuch', 2, "invalid scheduler flag `nosuch'"],
  ['-a -t 1.1.1.1:1 -r 2.2.2.2 -x -1', 2, 'illegal u_threshold specified'],
  ['-a -t 1.1.1.1:1 -r 2.2.2.2 -y x', 2, 'illegal l_threshold specified'],
  ['--start-daemon master --mcast-ttl 256', 2, 'illegal mcast-ttl specified'],
  ['--start-daemon master --mcast-port 0', 2, 'illegal mcast-port specified'],
  ['--start-daemon master --mcast-group ff02::5', 0, ''],
  ['--start-daemon master --mcast-group fe80::5', 2, "invalid IPv6 mcast-group `fe80::5'"],
  ['-L --daemon --persistent-conn', 2, 'options conflicts in the list command'],
  ['-L -c --rate', 2, 'options conflicts in the list command'],
  ['-L -c --persistent-conn', 0, ''],
  ['-S --stats', 2, "Illegal 'stats' option with the 'save' command"],
];

for (const [line, status, message] of REFUSED) {
  test(`line "${line}"`, () => {
    let thrown: unknown = null;
    try {
      parse(line);
    } catch (error) {
      thrown = error;
    }
    if (status === 0) assert.equal(thrown, null);
    else {
      assert.ok(thrown instanceof UsageError);
      assert.deepEqual([thrown.exitStatus, thrown.message], [status, message]);
    }
  });
}

test('defaults of a server, and edits that send a whole record', () => {
  for (const command of ['-a', '-e']) {
    assert.deepEqual(commandOf(`${command} -t 1.1.1.1:80 -r 2.2.2.2:81`), {
      command: command === '-a' ? 'add-server' : 'edit-server',
      service: { family: 4, protocol: 'tcp', address: '1.1.1.1', port: 80, fwmark: 0 },
      server: { family: 4, address: '2.2.2.2', port: 80 },
      settings: {
        method: 'dr',
        weight: 1,
        upperThreshold: 0,
        lowerThreshold: 0,
        tunnel: { type: 'ipip', port: 0, checksum: 'nocsum' },
      },
    });
  }
});

test("-r without a port takes the service's as far as the line has said it", () => {
  const portOf = (line: string): unknown =>
    (commandOf(line) as { server: { port: number } }).server.port;
  assert.equal(portOf('-a -t 1.1.1.1:80 -r 2.2.2.2 -m'), 80);
  assert.equal(portOf('-a -r 2.2.2.2 -m -t 1.1.1.1:80'), 0);
  assert.equal(portOf('-a -r 2.2.2.2 -t 1.1.1.1:80'), 80);
  assert.equal(portOf('-a -f 5 -r 2.2.2.2:81'), 81);
  assert.equal(portOf('-d -t 1.1.1.1:80 -r 2.2.2.2:81'), 81);
  assert.equal(portOf('-a -t 1.1.1.1:80 -r 2.2.2.2:81 --fullnat'), 81);
});

test('masks depend on what came before', () => {
  const maskOf = (line: string): unknown =>
    (commandOf(line) as { settings: { netmask: string } }).settings.netmask;
  assert.equal(maskOf('-A -t 1.1.1.1:80 -p -M 255.255.255.0'), '255.255.255.0');
  assert.equal(maskOf('-A -M 255.255.255.0 -t 1.1.1.1:80 -p'), '255.255.255.0');
  assert.equal(maskOf('-A -t [::1]:80 -p -M 64'), '64');
  assert.equal(maskOf('-A -M 64 -t [::1]:80 -p'), '128');
  assert.equal(maskOf('-A -f 1 -6 -p'), '128');
});

test('-p takes the next word unless that begins with a dash', () => {
  const timeoutOf = (line: string): unknown =>
    (commandOf(line) as { settings: { persistentTimeout: number } }).settings.persistentTimeout;
  assert.equal(timeoutOf('-A -t 1.1.1.1:80 -p'), 360);
  assert.equal(timeoutOf('-A -p -t 1.1.1.1:80'), 360);
  assert.equal(timeoutOf('-A -t 1.1.1.1:80 -p=7'), 7);
  assert.equal(timeoutOf('-A -t 1.1.1.1:80 --persistent=7'), 7);
  assert.equal(timeoutOf('-A -t 1.1.1.1:80 -p7'), 7);
});

test('words in clusters', () => {
  const request = parse('-Lcn');
  assert.equal(request.kind, 'list-connections');
  assert.deepEqual(commandOf('-At1.1.1.1:80 -srr'), commandOf('-A --tcp-service=1.1.1.1:80 -s rr'));
});

test('names of schedulers are cut to 15 characters; flags go with any order of words', () => {
  const settings = (commandOf('-A -b sh-port,,sh-fallback -t 1.1.1.1:80 -s sh') as never)[
    'settings'
  ] as { schedulerFlags: unknown };
  assert.deepEqual(settings.schedulerFlags, [true, true, false]);
  const long = commandOf('-A -t 1.1.1.1:80 -s abcdefghijklmnopq') as never;
  assert.equal((long['settings'] as { scheduler: string }).scheduler, 'abcdefghijklmno');
});

test('our own options stand anywhere; --json goes with listings only', () => {
  const own = takeOwnOptions(['-L', '--socket', '/a', '-n', '--json'], { XVS_SOCKET: '/b' });
  assert.deepEqual(own, { socketPath: '/a', json: true, words: ['-L', '-n'] });
  assert.equal(takeOwnOptions(['--socket=/c', '-L'], {}).socketPath, '/c');
  assert.equal(takeOwnOptions(['-L'], { XVS_SOCKET: '/b' }).socketPath, '/b');
  assert.equal(takeOwnOptions(['-L'], {}).socketPath, '/run/xvs/xvs.sock');
  assert.throws(() => takeOwnOptions(['-L', '--socket'], {}), /--socket: missing argument/);
  assert.throws(() => parse('-C', true), /Illegal 'json' option with the 'flush' command/);
});

test('services(5) and hosts(5)', () => {
  const services = parseServices(
    'http 80/tcp www # web\nhttp-alt 8080/tcp\n\nwww2 80/tcp\nbad x/tcp\n',
  );
  assert.equal(services.ports.get('www/tcp'), 80);
  assert.equal(services.names.get('80/tcp'), 'http');
  assert.equal(services.ports.get('http/udp'), undefined);
  const hosts = parseHosts('10.0.0.1 a b # c\n::1 localhost6\n2001:db8::1 d\n10.0.0.2 a\n');
  assert.deepEqual(
    [...hosts],
    [
      ['a', 0x0a000001],
      ['b', 0x0a000001],
      ['localhost6', 0x7f000001],
    ],
  );
});

test('restore: words of lines, own names dropped; blanks may cost the last line', () => {
  const text = 'ipvsadm -C\n\n  -A   xvsadm\t-t 1\r\n-D';
  const whole = [
    { number: 1, words: ['-C'] },
    { number: 3, words: ['-A', '-t', '1'] },
  ];
  assert.deepEqual(splitRules(text), [...whole, { number: 4, words: ['-D'] }]);
  assert.deepEqual(splitRules(`${text} `), splitRules(text));
  for (const blanks of ['  ', '\t ', ' \r']) assert.deepEqual(splitRules(text + blanks), whole);
  assert.deepEqual(splitRules(`${text}\n`), splitRules(text));
  assert.deepEqual(splitRules('-A\v-t'), [{ number: 1, words: ['-A\v-t'] }]);
});

test('rules files: every wrong line is reported', () => {
  const text =
    '# comment\n-A -t 1.1.1.1:80\n-A -t x:80\n-L\n--start-daemon master\n-a -t 1.1.1.1:80';
  const { commands, errors } = parseRules(text, RECORDED_SOURCE);
  assert.equal(commands.length, 1);
  assert.deepEqual(
    errors.map(({ line, message }) => `${line} ${message.split(' (in')[0]}`),
    [
      '3 illegal virtual server address[:port] specified',
      '4 only commands that change the table may stand here',
      '5 connection sync: not supported yet',
      "6 You need to supply the 'real-server' option for the 'add-server' command",
    ],
  );
});
