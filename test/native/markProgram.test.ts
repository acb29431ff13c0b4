/**
 * The mark rules of the XDP program against those of the table that workers read: random rules and
 * packets, each packet sent over a veth pair. That the table does what the kernel's netfilter does
 * is shown in markKernel.test.ts.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { parseRules } from '#xvs/control/mark/parse';
import { compileRule } from '#xvs/control/mark/rule';
import { Redirect } from '#xvs/control/redirect';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { addon, XDP_VERDICTS, type XdpProgram } from '#xvs/port/addon';
import { MARK_RULES_MAX, MarkTable, removedMarkRule, removedMarkRuleOfAll } from '#xvs/table/mark';
import {
  type Family,
  INTERFACES,
  type Packet,
  packetsOf,
  ruleText,
  specsOf,
} from '../support/markRules';
import { ethernet, ipv4, ipv6, ports } from './frames';
import {
  giveChunk,
  Lab,
  type Memory,
  makeMemory,
  type Opened,
  openQueue,
  takeChunk,
  word,
} from './support';

const NEAR = 'xvsmk0';
const FAR = 'xvsmk1';
const ROUNDS = 40;
const PACKETS = 50;
const IPV4_TYPE = 0x0800;
const IPV6_TYPE = 0x86dd;
/** Of the frame: where its number in the round stands, IPv4's id or IPv6's flow label. */
const NUMBER_AT = { 4: 18, 6: 16 } as const;

const lab = new Lab();
let program: XdpProgram;
let redirect: Redirect;
let nearMemory: Memory;
let farMemory: Memory;
let near: Opened;
let far: Opened;

function familyOf({ source }: Packet): Family {
  return source.includes(':') ? 6 : 4;
}

function frameOf(packet: Packet, number: number): number[] {
  const { source, destination, protocol } = packet;
  const header = { source, destination, protocol };
  const payload = ports(packet.sourcePort, packet.destinationPort);
  const family = familyOf(packet);
  const frame =
    family === 4
      ? ethernet(IPV4_TYPE, ipv4(header, payload))
      : ethernet(IPV6_TYPE, ipv6(header, payload));
  frame[NUMBER_AT[family]] = number >> 8;
  frame[NUMBER_AT[family] + 1] = number & 0xff;
  return frame;
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Sends the packets; which of them were redirected for `verdict`, by index. */
async function redirected(
  some: readonly Packet[],
  verdict = 'redirect_mark',
): Promise<Set<number>> {
  const earlier = program.verdicts();
  some.forEach((packet, index) => {
    const offset = takeChunk(farMemory);
    const frame = frameOf(packet, index);
    farMemory.bytes.set(frame, offset);
    far.tx.set([offset, frame.length, 0], index * 3);
  });
  assert.equal(far.socket.txBurst(some.length), some.length);
  const deadline = Date.now() + 2000;
  while (total(program.verdicts()) - total(earlier) < some.length && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  far.socket.rxBurst(0);
  const later = program.verdicts();
  const grown = (name: string): number => {
    const at = XDP_VERDICTS.indexOf(name);
    return later[at]! - earlier[at]!;
  };
  assert.equal(grown(verdict) + grown('pass_no_match'), some.length);
  const found = new Set<number>();
  const count = near.socket.rxBurst(64);
  assert.equal(count, grown(verdict));
  for (let frame = 0; frame < count; frame++) {
    const offset = near.rx[frame * 2]!;
    found.add(nearMemory.view.getUint16(offset + NUMBER_AT[familyOf(some[0]!)]));
    giveChunk(nearMemory, offset);
  }
  return found;
}

function tableOf(
  texts: readonly string[],
  family: Family = 4,
): { table: MarkTable; compiled: Int32Array[] } {
  const compiled = texts
    .flatMap((text) => parseRules(text, family))
    .map((rule) => compileRule(rule, [...INTERFACES]));
  const table = new MarkTable(MarkTable.buffer());
  table.publish(compiled);
  return { table, compiled };
}

function markOf(table: MarkTable, packet: Packet): number {
  const pair = (packet.sourcePort << 16) | packet.destinationPort;
  if (familyOf(packet) === 6) {
    const [s0, s1, s2, s3] = addressWords(packet.source);
    const [d0, d1, d2, d3] = addressWords(packet.destination);
    const { protocol, interfaceSlot: slot } = packet;
    return table.mark6(protocol, s0!, s1!, s2!, s3!, d0!, d1!, d2!, d3!, pair, slot) >>> 0;
  }
  const source = parseIpv4(packet.source);
  const destination = parseIpv4(packet.destination);
  return table.mark4(packet.protocol, source, destination, pair, packet.interfaceSlot) >>> 0;
}

/** The interface stands in the table's slot that the packets of this round come from. */
function standIn(slot: number): void {
  const { index } = addon.interfaceInfo(NEAR);
  const indices = INTERFACES.map((_name, at) => (at === slot ? index : 1_000_000 + at));
  redirect.updateInterfaces(indices.map((one) => ({ index: one, mac: '' })));
}

function setService(mark: number, families: number): void {
  program.mapUpdate('mark_services', word(mark), word(families));
}

describe('mark rules of the XDP program', { timeout: 60_000 }, () => {
  before(() => {
    lab.pair(NEAR, FAR);
    program = addon.loadProgram();
    redirect = new Redirect(program);
    nearMemory = makeMemory(256);
    // The fill ring takes as many as it holds: the rest is for sending.
    farMemory = makeMemory(1024);
    far = openQueue(farMemory, FAR);
    near = openQueue(nearMemory, NEAR);
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
  });
  after(() => {
    nearMemory.umem.close();
    farMemory.umem.close();
    program.close();
    lab.remove();
  });

  for (const family of [4, 6] as const) {
    it(`agree with the table on random rules and packets of IPv${family}`, async () => {
      const rounds = fc.sample(
        fc.tuple(
          fc.array(specsOf(family), { minLength: 1, maxLength: 12 }),
          fc.array(packetsOf(family), { minLength: PACKETS, maxLength: PACKETS }),
          fc.integer({ min: 0, max: INTERFACES.length - 1 }),
        ),
        ROUNDS,
      );
      let taken = 0;
      for (const [rules, random, slot] of rounds) {
        const some = random.map((packet) => ({ ...packet, interfaceSlot: slot }));
        const { table, compiled } = tableOf(rules.map(ruleText), family);
        const marks = some.map((packet) => markOf(table, packet));
        // A service for every second mark: the others have none.
        const wanted = [...new Set(marks)].filter((mark, index) => mark !== 0 && index % 2 === 0);
        for (const mark of wanted) setService(mark, family === 4 ? 1 : 2);
        standIn(slot);
        redirect.updateMarks(compiled);
        const expected = new Set(marks.flatMap((mark, at) => (wanted.includes(mark) ? [at] : [])));
        assert.deepEqual(await redirected(some), expected, rules.map(ruleText).join('\n'));
        taken += expected.size;
        for (const mark of wanted) program.mapDelete('mark_services', word(mark));
      }
      assert.ok(taken > 100, `${taken} packets were redirected in all rounds`);
    });
  }

  it('removed, still redirect what they match, of their family and interface alone', async () => {
    for (const family of [4, 6] as const) {
      const rounds = fc.sample(
        fc.tuple(specsOf(family), fc.array(packetsOf(family), { minLength: 20, maxLength: 20 })),
        ROUNDS / 2,
      );
      standIn(0);
      for (const [spec, random] of rounds) {
        const some = random.map((packet) => ({ ...packet, interfaceSlot: 0 }));
        // The mark before it does not count.
        const plain = { ...spec, mark: null, set: { option: '--set-mark', value: 1, mask: null } };
        const { table } = tableOf([ruleText(plain)], family);
        const matched = some.flatMap((packet, at) => (markOf(table, packet) === 0 ? [] : [at]));
        const { compiled } = tableOf([ruleText(spec)], family);
        redirect.updateMarks(compiled.map(removedMarkRule));
        const found = await redirected(some, 'redirect_removed_mark');
        assert.deepEqual(found, new Set(matched), ruleText(spec));
        redirect.updateMarks([removedMarkRuleOfAll(family)]);
        const all = await redirected(some, 'redirect_removed_mark');
        assert.equal(all.size, some.length);
        redirect.updateMarks([removedMarkRuleOfAll(family === 4 ? 6 : 4)]);
        assert.equal((await redirected(some, 'redirect_removed_mark')).size, 0);
      }
    }
  });

  it('work with as many rules as there may be, and with none', async () => {
    const packet: Packet = {
      protocol: 6,
      source: '10.0.0.1',
      destination: '10.0.0.2',
      sourcePort: 1,
      destinationPort: 443,
      interfaceSlot: 0,
    };
    const filler = '-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15';
    const texts = new Array<string>(MARK_RULES_MAX - 1).fill(`${filler} -j MARK --set-mark 1`);
    const { compiled } = tableOf([...texts, '-p tcp --dport 443 -j MARK --set-mark 66']);
    setService(66, 1);
    redirect.updateMarks(compiled);
    assert.deepEqual(await redirected([packet]), new Set([0]));
    redirect.updateMarks(compiled.slice(0, -1));
    assert.deepEqual(await redirected([packet]), new Set());
    redirect.updateMarks([]);
    assert.deepEqual(await redirected([packet]), new Set());
    // The mark is a service of IPv6 only.
    setService(66, 2);
    redirect.updateMarks(compiled);
    assert.deepEqual(await redirected([packet]), new Set());
    program.mapDelete('mark_services', word(66));
  });
});
