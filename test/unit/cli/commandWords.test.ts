/** Commands in xvsadm's words, as the audit has them: typed again they are the same commands. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commandWords } from '#xvs/cli/commandWords';
import { parseRules } from '#xvs/cli/rules';

const LINES = [
  '-A -t 192.0.2.1:80 -s rr',
  '-A -u 192.0.2.1:53 -s wlc -o',
  '-A --sctp-service 192.0.2.1:9 -s sh -b sh-port',
  '-A -t [2001:db8::1]:80 -s mh -p 300 -M 64 -b mh-fallback,mh-port',
  '-A -f 66 -s wrr -p 60 -M 255.255.255.0',
  '-A -f 66 -6 -s lblcr',
  '-E -t 192.0.2.1:80 -s sed -p 5 --pe sip',
  '-a -t 192.0.2.1:80 -r 192.168.0.10:8080 -m -w 3',
  '-a -t 192.0.2.1:80 -r 192.168.0.10 -g -w 1 -x 100 -y 50',
  '-e -t 192.0.2.1:80 -r 192.168.0.10 -i --tun-type gue --tun-port 6080 --tun-csum -w 0',
  '-a -t 192.0.2.1:80 -r [2001:db8::30]:80 -i --tun-type gre',
  '-a -t 192.0.2.1:80 -r 192.168.0.20:9000 --fullnat',
  '-a -f 66 -r 192.168.0.10:0 -m',
  '-d -t 192.0.2.1:80 -r 192.168.0.10:8080',
  '--add-laddr -t 192.0.2.1:80 -z 192.168.0.101',
  '--del-laddr -t 192.0.2.1:80 -z 192.168.0.101',
  '-D -t [2001:db8::1]:80',
  '-Z -t 192.0.2.1:80',
  '-Z',
  '-C',
  '--set 900 0 300',
];

test('each command, typed again in the words of the audit, is the same', () => {
  const { commands, errors } = parseRules(LINES.join('\n'));
  assert.deepEqual(errors, []);
  assert.equal(commands.length, LINES.length);
  assert.equal(new Set(commands.map(({ command }) => command)).size, 11, 'every kind there is');
  const words = commands.map(commandWords);
  for (const line of words) assert.match(line, /^xvsadm -/);
  const again = parseRules(words.join('\n'));
  assert.deepEqual(again.errors, []);
  assert.deepEqual(again.commands, commands);
  assert.equal(words[0], `xvsadm ${LINES[0]}`);
});
