/**
 * The mark rules against the kernel's own: iptables prints rules as we do, gives packets the marks
 * that our table gives them, and what iptables and nft hold is taken over by `xvs mark --import`.
 * In a namespace of its own; packets are sent by an AF_XDP socket on the other end of a veth pair.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { formatChain, formatRule } from '#xvs/control/mark/format';
import { Marks, markRoutes } from '#xvs/control/mark/marks';
import { parseRules } from '#xvs/control/mark/parse';
import { compileRule } from '#xvs/control/mark/rule';
import { AdminSocket } from '#xvs/control/socket';
import { runCommand } from '#xvs/lab/process';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { MarkTable } from '#xvs/table/mark';
import {
  type Family,
  INTERFACES,
  type Packet,
  packetsOf,
  ruleText,
  type Spec,
  specs,
  specsOf,
} from '../support/markRules';
import { ethernet, ipv4, ipv6, ports } from './frames';
import {
  ip,
  Lab,
  type Memory,
  makeMemory,
  type Opened,
  openQueue,
  TCP,
  takeChunk,
} from './support';

const NEAR = 'xvsmn0';
const FAR = 'xvsmn1';
const ROUNDS = 25;
const PACKETS = 40;
const XVS = resolve(__dirname, '..', '..', 'bin', 'xvs.js');

const lab = new Lab();
let host = '';
let memory: Memory;
let far: Opened;

function inHost(command: readonly string[], input = ''): string {
  return execFileSync('ip', ['netns', 'exec', host, ...command], { encoding: 'utf8', input });
}

/** RFC 791: the kernel looks at no packet whose header checksum is wrong. */
function withChecksum(header: number[]): number[] {
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += (header[at]! << 8) | header[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  header[10] = (~sum >> 8) & 0xff;
  header[11] = ~sum & 0xff;
  return header;
}

function send(some: readonly Packet[]): void {
  some.forEach((packet, index) => {
    const { source, destination, protocol, sourcePort, destinationPort } = packet;
    const header = { source, destination, protocol };
    const payload = ports(sourcePort, destinationPort);
    const frame = source.includes(':')
      ? ethernet(0x86dd, ipv6(header, payload))
      : ethernet(0x0800, withChecksum(ipv4(header, payload)));
    const offset = takeChunk(memory);
    memory.bytes.set(frame, offset);
    far.tx.set([offset, frame.length, 0], index * 3);
  });
  assert.equal(far.socket.txBurst(some.length), some.length);
}

/** A set of what the kernel has marked, for one protocol: nft joins five fields at most. */
function recorded(protocol: string, family: Family): string {
  return `set seen_${protocol} {
    type ipv${family}_addr . ipv${family}_addr . inet_service . inet_service . mark
    size 4096
    flags dynamic
  }
`;
}
/** In nft's words. */
const NFT_FAMILY = { 4: 'ip', 6: 'ip6' } as const;
/** Comes behind iptables' mangle table. */
function recorder(family: Family): string {
  const ip = NFT_FAMILY[family];
  const fields = `${ip} saddr . ${ip} daddr . th sport . th dport . meta mark`;
  return `table ${ip} xvsrecorder {
  ${recorded('tcp', family)}
  ${recorded('udp', family)}
  chain pre {
    type filter hook prerouting priority -100
    meta l4proto tcp update @seen_tcp { ${fields} }
    meta l4proto udp update @seen_udp { ${fields} }
    counter
  }
}
`;
}

/** "! --dport 0:9" comes back from iptables-nft as "--dport 10:65535". */
function isPrintedAsGiven({ sourcePorts, destinationPorts }: Spec): boolean {
  return [sourcePorts, destinationPorts].every((match) => {
    if (match === null) return true;
    const [first, last] = match.range;
    return first === last || (first !== 0 && last !== 65535);
  });
}

interface Seen {
  readonly packets: number;
  readonly marks: ReadonlyMap<string, number>;
}

/** An address as our tests write it: of IPv6, all eight groups. */
function plainAddress(text: string): string {
  if (!text.includes(':')) return text;
  const groups = [...addressWords(text)].flatMap((word) => [word >>> 16, word & 0xffff]);
  return groups.map((group) => group.toString(16)).join(':');
}

function seen(family: Family): Seen {
  const text = inHost(['nft', '-j', '-n', 'list', 'table', NFT_FAMILY[family], 'xvsrecorder']);
  const marks = new Map<string, number>();
  let count = 0;
  for (const object of JSON.parse(text).nftables) {
    for (const element of object.set?.elem ?? []) {
      const values: (string | number)[] = (element.elem?.val ?? element).concat;
      const mark = Number(values.pop());
      const [source, destination, ...rest] = values;
      const addresses = [source, destination].map((address) => plainAddress(String(address)));
      marks.set([object.set.name, ...addresses, ...rest].join(' '), mark);
    }
    for (const statement of object.rule?.expr ?? []) count = statement.counter?.packets ?? count;
  }
  return { packets: count, marks };
}

function keyOf(packet: Packet): string {
  const { protocol, source, destination, sourcePort, destinationPort } = packet;
  const name = protocol === TCP ? 'seen_tcp' : 'seen_udp';
  return [name, source, destination, sourcePort, destinationPort].join(' ');
}

function markOf(table: MarkTable, packet: Packet): number {
  const pair = (packet.sourcePort << 16) | packet.destinationPort;
  if (packet.source.includes(':')) {
    const [s0, s1, s2, s3] = addressWords(packet.source);
    const [d0, d1, d2, d3] = addressWords(packet.destination);
    const { protocol, interfaceSlot: slot } = packet;
    return table.mark6(protocol, s0!, s1!, s2!, s3!, d0!, d1!, d2!, d3!, pair, slot) >>> 0;
  }
  const source = parseIpv4(packet.source);
  const destination = parseIpv4(packet.destination);
  return table.mark4(packet.protocol, source, destination, pair, packet.interfaceSlot) >>> 0;
}

/**
 * `program`: iptables-restore, or iptables-legacy-restore, whose matches are the kernel's own
 * (xt_tcpudp). The former makes nftables expressions of ports, and of two that are both turned
 * round (! --sport A ! --dport B) "not both", which is not what its manual says (seen in 1.8.9).
 */
function restore(program: string, rules: readonly string[]): void {
  const lines = rules.map((rule) => `-A PREROUTING ${rule}\n`).join('');
  inHost([program], `*mangle\n:PREROUTING ACCEPT [0:0]\n${lines}COMMIT\n`);
}

describe('mark rules and the kernel', { timeout: 120_000 }, () => {
  before(() => {
    host = lab.namespace('mark');
    lab.pair(NEAR, FAR);
    ip('link', 'set', NEAR, 'address', '02:00:00:00:00:01');
    ip('link', 'set', NEAR, 'netns', host, 'name', 'eth0');
    ip('-n', host, 'link', 'set', 'eth0', 'up');
    // The fill ring takes as many as it holds: the rest is for sending.
    memory = makeMemory(1024);
    far = openQueue(memory, FAR);
  });
  after(() => {
    memory.umem.close();
    lab.remove();
  });

  it('are printed as iptables prints them', () => {
    const random = fc.sample(specs.filter(isPrintedAsGiven), 150).map(ruleText);
    const rules = random.flatMap((text) => parseRules(text, 4)).map(formatRule);
    restore('iptables-restore', random);
    assert.equal(formatChain(rules, 4), inHost(['iptables', '-t', 'mangle', '-S', 'PREROUTING']));
    const six = [
      '-s 2001:DB8::1/64 ! -d 2001:db8:0:0:0:0:0:5 -p tcp --dport 80 -j MARK --set-mark 5',
      '-i eth+ -p udp -m multiport --ports 53,1000:2000 -m comment --comment \'a "b" c\' ' +
        '-j MARK --or-mark 1',
    ];
    for (const rule of six) {
      inHost(['sh', '-c', `ip6tables -t mangle -A PREROUTING ${rule}`]);
    }
    const printed = inHost(['ip6tables', '-t', 'mangle', '-S', 'PREROUTING']);
    const ours = formatChain(six.flatMap((rule) => parseRules(rule, 6)).map(formatRule), 6);
    assert.equal(ours.replaceAll(/^-6 /gm, ''), printed);
    for (const program of ['iptables', 'ip6tables']) inHost([program, '-t', 'mangle', '-F']);
  });

  for (const [family, restorer] of [
    [4, 'iptables-legacy-restore'],
    [6, 'ip6tables-legacy-restore'],
  ] as const) {
    it(`give IPv${family} packets the marks that the kernel gives them`, async () => {
      const rounds = fc.sample(
        fc.tuple(
          fc.array(specsOf(family), { minLength: 1, maxLength: 12 }),
          fc.array(packetsOf(family), { minLength: PACKETS, maxLength: PACKETS }),
        ),
        ROUNDS,
      );
      let marked = 0;
      for (const [rules, random] of rounds) {
        const some = random.map((packet) => ({ ...packet, interfaceSlot: 0 }));
        const texts = rules.map(ruleText);
        restore(restorer, texts);
        marked += await compare(family, texts, some);
      }
      assert.ok(marked > 100, `${marked} packets had a mark`);
      inHost(['nft', 'delete', 'table', NFT_FAMILY[family], 'xvsrecorder']);
    });
  }
});

/** Sends the packets and compares their marks with our table's; how many had one. */
async function compare(
  family: Family,
  texts: readonly string[],
  some: readonly Packet[],
): Promise<number> {
  const name = `table ${NFT_FAMILY[family]} xvsrecorder`;
  inHost(['nft', '-f', '-'], `${name}\ndelete ${name}\n${recorder(family)}`);
  send(some);
  const deadline = Date.now() + 2000;
  let found = seen(family);
  while (found.packets < some.length && Date.now() < deadline) {
    await new Promise((done) => setTimeout(done, 5));
    found = seen(family);
  }
  assert.equal(found.packets, some.length);
  const table = new MarkTable(MarkTable.buffer());
  const rules = texts.flatMap((text) => parseRules(text, family));
  table.publish(rules.map((rule) => compileRule(rule, [...INTERFACES])));
  const expected = new Map(some.map((packet) => [keyOf(packet), markOf(table, packet)]));
  assert.deepEqual(
    new Map([...found.marks].sort()),
    new Map([...expected].sort()),
    texts.join('\n'),
  );
  far.socket.rxBurst(0);
  return [...expected.values()].filter((mark) => mark !== 0).length;
}

const NFT = `table inet lvs {
  set vips { type ipv4_addr; elements = { 192.168.0.200, 192.168.0.201 } }
  chain pre {
    type filter hook prerouting priority mangle; policy accept;
    ip daddr @vips tcp dport { 80, 443 } counter meta mark set 66 comment "web"
    ip daddr 10.0.0.0/8 udp dport 5060-5070 iifname "eth*" meta mark set mark or 0x100
    ip6 daddr 2001:db8::1 meta l4proto { tcp, udp } th dport 53 meta mark set 0x7
    ip saddr != 10.1.0.0/16 meta mark and 0xff == 1 meta mark set 9
    ct state new meta mark set 1
    tcp dport 25 accept
  }
}
`;

describe('xvs mark --import', { timeout: 60_000 }, () => {
  const own = new Lab();
  const folder = mkdtempSync(join(tmpdir(), 'xvs-mark-import-'));
  const marks = new Marks(['eth0'], () => {});
  const nothing = (): never => {
    throw new Error('not asked in this test');
  };
  const socket = new AdminSocket(
    join(folder, 'socket'),
    { services: nothing, connections: nothing, timeouts: nothing, execute: nothing },
    markRoutes(marks),
  );
  let name = '';
  before(async () => {
    await socket.open();
    name = own.namespace('import');
    const inside = (command: string[], input = '') =>
      execFileSync('ip', ['netns', 'exec', name, ...command], { encoding: 'utf8', input });
    for (const rule of [
      '-d 192.168.0.200 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 66',
      '-p tcp -m length --length 1:9 -j MARK --set-mark 3',
      '! -i lo -m comment --comment "not ours" -j MARK --and-mark 0xff',
    ]) {
      inside(['sh', '-c', `iptables -t mangle -A PREROUTING ${rule}`]);
    }
    inside(['nft', '-f', '-'], NFT);
  });
  after(async () => {
    await socket.close();
    rmSync(folder, { recursive: true });
    own.remove();
  });

  async function xvs(...words: string[]) {
    const command = [process.execPath, XVS, '--socket', socket.path, 'mark', ...words];
    return runCommand(['ip', 'netns', 'exec', name, ...command]);
  }
  const to = (value: string): string => `-j MARK --set-xmark ${value}`;
  const web = (last: number): string =>
    `-d 192.168.0.${last}/32 -p tcp -m multiport --dports 80,443 -m comment --comment web ` +
    to('0x42/0xffffffff');
  const EXPECTED = [
    '-A PREROUTING -d 192.168.0.200/32 -p tcp -m multiport --dports 80,443 ' +
      to('0x42/0xffffffff'),
    `-A PREROUTING ! -i lo -m comment --comment "not ours" ${to('0x0/0xffffff00')}`,
    `-A PREROUTING ${web(200)}`,
    `-A PREROUTING ${web(201)}`,
    `-A PREROUTING -d 10.0.0.0/8 -i eth+ -p udp -m udp --dport 5060:5070 ${to('0x100/0x100')}`,
    `-A PREROUTING ! -s 10.1.0.0/16 -m mark --mark 0x1/0xff ${to('0x9/0xffffffff')}`,
    `-6 -A PREROUTING -d 2001:db8::1/128 -p tcp -m tcp --dport 53 ${to('0x7/0xffffffff')}`,
    `-6 -A PREROUTING -d 2001:db8::1/128 -p udp -m udp --dport 53 ${to('0x7/0xffffffff')}`,
  ];

  it('takes over what iptables and nft hold, once, and says what it leaves', async () => {
    const dry = await xvs('--import', '--dry-run');
    assert.equal(marks.list().rules.length, 0);
    const first = await xvs('--import');
    assert.deepEqual(first.stdout.trimEnd().split('\n'), EXPECTED);
    assert.deepEqual(dry, first);
    assert.equal(first.status, 1);
    assert.match(first.stderr, /not taken: -A PREROUTING .*-m length .*\n {2}-m length: allowed/);
    assert.match(
      first.stderr,
      /not taken: inet lvs pre: .*"ct".*\n {2}.*this match is not allowed/,
    );
    assert.match(first.stderr, /not taken: inet lvs pre: .*"accept".*\n {2}accept: here no rule/);
    assert.equal(marks.list().rules.length, EXPECTED.length);
    const again = await xvs('--import');
    assert.equal(again.stdout, '');
    assert.equal(marks.list().rules.length, EXPECTED.length);
  });

  it('says so when there is nothing to import from', () => {
    const result = spawnSync(process.execPath, [XVS, '--socket', socket.path, 'mark', '--import'], {
      encoding: 'utf8',
      env: { PATH: '/nonexistent' },
    });
    assert.equal(result.status, 1);
    assert.match(result.stderr, /nothing to import from: iptables-save is not installed; .*nft is/);
  });
});
