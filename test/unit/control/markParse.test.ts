/** iptables' syntax for marks: what is taken, how it is printed again, what is refused and how. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { formatChain, formatRule } from '#xvs/control/mark/format';
import { type MarkLine, parseMarkLine, parseRules } from '#xvs/control/mark/parse';
import { splitWords } from '#xvs/control/mark/values';
import { ruleText, specs } from '../../support/markRules';

const NAMES: Readonly<Record<string, number>> = {
  'http/tcp': 80,
  'https/tcp': 443,
  'domain/udp': 53,
};

function parse(text: string): MarkLine {
  return parseMarkLine(splitWords(text), (name, protocol) => NAMES[`${name}/${protocol}`] ?? null);
}

function printed(text: string): string[] {
  const line = parse(text);
  return 'rules' in line ? line.rules.map(formatRule) : [];
}

/** What follows "-A PREROUTING", and how it is printed. */
const TAKEN: readonly (readonly [string, ...string[]])[] = [
  [
    '-d 192.168.0.200 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 66',
    '-d 192.168.0.200/32 -p tcp -m multiport --dports 80,443 -j MARK --set-xmark 0x42/0xffffffff',
  ],
  ['-j MARK --set-mark 0x42', '-j MARK --set-xmark 0x42/0xffffffff'],
  ['-j MARK --set-mark 0102', '-j MARK --set-xmark 0x42/0xffffffff'],
  ['-j MARK --set-mark 1/0xf0', '-j MARK --set-xmark 0x1/0xf1'],
  ['-j MARK --set-xmark 1/0xf0', '-j MARK --set-xmark 0x1/0xf0'],
  ['-j MARK --set-xmark 1', '-j MARK --set-xmark 0x1/0xffffffff'],
  ['-j MARK --or-mark 0x80000000', '-j MARK --set-xmark 0x80000000/0x80000000'],
  ['-j MARK --and-mark 0xff', '-j MARK --set-xmark 0x0/0xffffff00'],
  ['-j MARK --xor-mark 5', '-j MARK --set-xmark 0x5/0x0'],
  ['-s 10.1.2.3/8 -j MARK --set-mark 1', '-s 10.0.0.0/8 -j MARK --set-xmark 0x1/0xffffffff'],
  [
    '--source 10.1.2.3/255.255.0.0 -j MARK --set-mark 1',
    '-s 10.1.0.0/16 -j MARK --set-xmark 0x1/0xffffffff',
  ],
  [
    '--src 10.1.2.3/255.0.255.0 -j MARK --set-mark 1',
    '-s 10.0.2.0/255.0.255.0 -j MARK --set-xmark 0x1/0xffffffff',
  ],
  ['-d 0.0.0.0/0 -j MARK --set-mark 1', '-j MARK --set-xmark 0x1/0xffffffff'],
  [
    '-s 10.0.0.1,10.0.0.2 -d 10.0.1.0/24,10.0.2.0/24 -j MARK --set-mark 1',
    '-s 10.0.0.1/32 -d 10.0.1.0/24 -j MARK --set-xmark 0x1/0xffffffff',
    '-s 10.0.0.1/32 -d 10.0.2.0/24 -j MARK --set-xmark 0x1/0xffffffff',
    '-s 10.0.0.2/32 -d 10.0.1.0/24 -j MARK --set-xmark 0x1/0xffffffff',
    '-s 10.0.0.2/32 -d 10.0.2.0/24 -j MARK --set-xmark 0x1/0xffffffff',
  ],
  [
    '! -i eth+ -p tcp --dport http -j MARK --set-mark 1',
    '! -i eth+ -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1/0xffffffff',
  ],
  [
    '-j MARK --set-mark 1 --dport=:90 ! --sport 1024: -ptcp -ieth0',
    '-i eth0 -p tcp -m tcp ! --sport 1024:65535 --dport 0:90 -j MARK --set-xmark 0x1/0xffffffff',
  ],
  ['-p 6 -j MARK --set-mark 1', '-p tcp -j MARK --set-xmark 0x1/0xffffffff'],
  ['! -p ICMP -j MARK --set-mark 1', '! -p icmp -j MARK --set-xmark 0x1/0xffffffff'],
  ['-p all -j MARK --set-mark 1', '-j MARK --set-xmark 0x1/0xffffffff'],
  ['-p 200 -j MARK --set-mark 1', '-p 200 -j MARK --set-xmark 0x1/0xffffffff'],
  [
    '-p udp -m udp -m multiport ! --ports domain,1000:2000 -j MARK --set-mark 1',
    '-p udp -m multiport ! --ports 53,1000:2000 -j MARK --set-xmark 0x1/0xffffffff',
  ],
  [
    '-p sctp -m sctp --dport 9 -j MARK --set-mark 1',
    '-p sctp -m sctp --dport 9 -j MARK --set-xmark 0x1/0xffffffff',
  ],
  [
    '-m mark ! --mark 0x10/0xf0 -m comment --comment "not \\"ten\\"" -j MARK --set-mark 1',
    '-m mark ! --mark 0x10/0xf0 -m comment --comment "not \\"ten\\"" ' +
      '-j MARK --set-xmark 0x1/0xffffffff',
  ],
  [
    "-m comment --comment '-x --dport=3' -j MARK --set-mark 1",
    '-m comment --comment "-x --dport=3" -j MARK --set-xmark 0x1/0xffffffff',
  ],
  ['-i + -j MARK --set-mark 1', '-j MARK --set-xmark 0x1/0xffffffff'],
];

test('rules are taken and printed as iptables prints them', () => {
  for (const [text, ...expected] of TAKEN) {
    assert.deepEqual(printed(`-t mangle -A PREROUTING ${text}`), expected, text);
  }
});

test('what is printed is taken as the same rule', () => {
  fc.assert(
    fc.property(specs, (spec) => {
      const [rule] = parseRules(ruleText(spec), 4);
      assert.deepEqual(parseRules(formatRule(rule!), 4), [rule]);
    }),
  );
});

test('IPv6 is told by -6, by ip6tables or by the addresses', () => {
  const rule = '-d 2001:DB8::5/64 -p tcp --dport 80 -j MARK --set-mark 1';
  const expected = '-d 2001:db8::/64 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1/0xffffffff';
  for (const text of [`-A PREROUTING ${rule}`, `ip6tables -t mangle -A PREROUTING ${rule}`]) {
    const line = parse(text);
    assert.equal(line.family, 6);
    assert.deepEqual(printed(text), [expected]);
  }
  assert.equal(parse('-6 -A PREROUTING -j MARK --set-mark 1').family, 6);
  assert.equal(parse('-A PREROUTING -j MARK --set-mark 1').family, 4);
  assert.deepEqual(printed('-A PREROUTING -s ::ffff:1.2.3.4/ffff::ff -j MARK --set-mark 1'), [
    '-s ::4/ffff::ff -j MARK --set-xmark 0x1/0xffffffff',
  ]);
});

test('commands', () => {
  assert.deepEqual(parse('-F'), { operation: 'flush', family: null });
  assert.deepEqual(parse('iptables -t mangle -F PREROUTING -4'), { operation: 'flush', family: 4 });
  for (const words of ['-nL', '-nvL', '-vnxL PREROUTING', '-L -n -v --line-numbers']) {
    assert.deepEqual(parse(words), { operation: 'list', family: null }, words);
  }
  assert.deepEqual(parse('-w 5 -t mangle -S PREROUTING -6'), { operation: 'list', family: 6 });
  assert.deepEqual(parse('-D PREROUTING 3'), { operation: 'delete-number', family: 4, number: 3 });
  const rule = '-j MARK --set-mark 1';
  assert.equal(parse(`-D PREROUTING ${rule}`).operation, 'delete');
  const first = parse(`-I PREROUTING ${rule}`);
  const third = parse(`--insert PREROUTING 3 ${rule}`);
  assert.ok(first.operation === 'insert' && first.position === 1);
  assert.ok(third.operation === 'insert' && third.position === 3);
  assert.equal(formatChain(['-j X'], 4), '-P PREROUTING ACCEPT\n-A PREROUTING -j X\n');
  assert.equal(formatChain(['-j X'], 6), '-6 -P PREROUTING ACCEPT\n-6 -A PREROUTING -j X\n');
});

const SIXTEEN = Array.from({ length: 16 }, (_, port) => port).join(',');
/** What is refused: the line after "-A PREROUTING", the message. */
const REFUSED: readonly (readonly [string, RegExp])[] = [
  ['-s 10.0.0.256 -j MARK --set-mark 1', /^-s 10\.0\.0\.256: ADDRESS, ADDRESS\/LENGTH or/],
  ['-s 10.0.0.1/33 -j MARK --set-mark 1', /^-s 10\.0\.0\.1\/33: ADDRESS/],
  ['-s host.example -j MARK --set-mark 1', /^-s host\.example: ADDRESS/],
  ['-s 2001:db8::/129 -j MARK --set-mark 1', /^-s 2001:db8::\/129: ADDRESS/],
  ['-s 10.0.0.1 -d ::1 -j MARK --set-mark 1', /only IPv4 addresses are allowed/],
  ['! -s 10.0.0.1,10.0.0.2 -j MARK --set-mark 1', /one address is allowed after !/],
  ['-s ! 10.0.0.1 -j MARK --set-mark 1', /^-s !: the ! goes before the option/],
  ['! -s 10.0.0.1/0 -j MARK --set-mark 1', /^! -s 10.0.0.1\/0: no packet would match/],
  ['-p quic -j MARK --set-mark 1', /^-p quic: all, icmp, .* or a number from 0 to 255/],
  ['-p 256 -j MARK --set-mark 1', /^-p 256: /],
  ['! -p all -j MARK --set-mark 1', /no packet would match/],
  ['--dport 80 -j MARK --set-mark 1', /^--dport 80: -p tcp, -p udp or -p sctp is needed/],
  ['! -p tcp --dport 80 -j MARK --set-mark 1', /^--dport 80: -p tcp, /],
  ['-p icmp --dport 80 -j MARK --set-mark 1', /^--dport 80: -p tcp, /],
  ['-p tcp --dport 65536 -j MARK --set-mark 1', /^--dport 65536: a port from 0 to 65535/],
  ['-p tcp --dport 90:80 -j MARK --set-mark 1', /first port must not be above the last/],
  ['-p tcp ! --dport : -j MARK --set-mark 1', /^! --dport :: no packet would match/],
  ['-p tcp --dport 1:2:3 -j MARK --set-mark 1', /PORT or FIRST:LAST is allowed/],
  ['-p tcp --dport gopher -j MARK --set-mark 1', /^--dport gopher: a port .* for tcp/],
  ['-p udp --dport http -j MARK --set-mark 1', /^--dport http: .* for udp/],
  ['-p tcp --dports 80 -j MARK --set-mark 1', /^--dports 80: -m multiport is needed/],
  ['-p tcp -m multiport -j MARK --set-mark 1', /^-m multiport: --sports, --dports or --ports/],
  [`-p tcp -m multiport --dports ${SIXTEEN} -j MARK --set-mark 1`, /at most 15 ports/],
  ['-p tcp -m multiport --dports 80, -j MARK --set-mark 1', /^--dports: the port is missing/],
  ['-p tcp -m udp -j MARK --set-mark 1', /^-m udp: -p udp is needed/],
  ['-m state --state NEW -j MARK --set-mark 1', /^-m state: allowed are tcp, udp, sctp, multiport/],
  ['-m mark -j MARK --set-mark 1', /^-m mark: --mark is needed/],
  ['--mark 1 -j MARK --set-mark 1', /^--mark 1: -m mark is needed/],
  ['--comment x -j MARK --set-mark 1', /^--comment x: -m comment is needed/],
  ['-i a-name-too-long0 -j MARK --set-mark 1', /^-i a-name-too-long0: a name of 1 to 15/],
  ['-j MARK --set-mark 0x100000000', /^--set-mark 0x100000000: VALUE or VALUE\/MASK/],
  ['-j MARK --set-mark -1', /^--set-mark -1: VALUE or/],
  ['-j MARK --or-mark 1/2', /^--or-mark 1\/2: a number from 0 to 0xffffffff/],
  ['-j MARK', /^-j MARK: one of --set-mark, /],
  ['-j MARK --set-mark', /^--set-mark: a value is missing/],
  ['-j MARK --set-mark 1 --or-mark 2', /^--or-mark 2: there is a --set-mark before it/],
  ['-p tcp', /^-j MARK is missing/],
  ['-j ACCEPT', /^-j ACCEPT: only MARK is allowed/],
  ['! -j MARK --set-mark 1', /^! -j: allowed before -s, /],
  ['! ! -s 10.0.0.1 -j MARK --set-mark 1', /one ! is allowed/],
  ['-j MARK --set-mark 1 !', /^!: an option to turn round has to follow/],
  ['-j MARK --set-mark 1 -o eth0', /^"-o": unknown; allowed are -A/],
  ['-j MARK --set-mark 1 stray', /^"stray": unknown/],
  ['-j MARK --set-mark 1 -F', /^-F: one command is allowed/],
  ['-m comment --comment "open -j MARK --set-mark 1', /a quote is not closed/],
];

test('what is refused is named, with what is allowed', () => {
  for (const [text, message] of REFUSED) {
    assert.throws(() => parse(`-t mangle -A PREROUTING ${text}`), { name: 'MarkError', message });
  }
  for (const [text, message] of [
    ['-t nat -A PREROUTING', /^-t nat: only mangle is allowed/],
    ['-A OUTPUT -j MARK --set-mark 1', /^-A OUTPUT: only PREROUTING is allowed/],
    ['-A', /^-A: a chain is missing/],
    ['-D PREROUTING 0', /^-D PREROUTING 0: a rule number/],
    ['-D PREROUTING 1 -p tcp', /^-p: not allowed with this command/],
    ['-L -p tcp', /^-p: not allowed with this command/],
    ['-p tcp', /^a command is missing/],
    ['', /^a command is missing/],
    ['-4 -6 -L', /^-6: IPv4 was said before/],
    ['-6 -A PREROUTING -s 10.0.0.1 -j MARK --set-mark 1', /only IPv6 addresses/],
  ] as const) {
    assert.throws(() => parse(text), { name: 'MarkError', message }, text);
  }
});

test('any words at all are taken or refused, never worse', () => {
  const known = ['-A', 'PREROUTING', '-p', 'tcp', '!', '--dport', '-j', 'MARK', '--set-mark', '1'];
  const word = fc.oneof(fc.constantFrom(...known, '-s', '-m', '-D', '-I'), fc.string());
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), (words) => {
      try {
        parseMarkLine(words);
      } catch (error) {
        assert.equal((error as Error).name, 'MarkError', (error as Error).stack);
      }
    }),
  );
});
