/** Mark rules in shared memory, against a slow model and under a writer. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import fc from 'fast-check';
import { parseRules } from '#xvs/control/mark/parse';
import { compileRule } from '#xvs/control/mark/rule';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { MARK_RULES_MAX, MarkTable } from '#xvs/table/mark';
import { ServiceTable } from '#xvs/table/service';
import {
  INTERFACES,
  modelMark,
  type Packet,
  packets,
  packetsOf,
  ruleText,
  specs,
  specsOf,
} from '../../support/markRules';

function compiled(texts: readonly string[], family: 4 | 6 = 4): Int32Array[] {
  return texts
    .flatMap((text) => parseRules(text, family))
    .map((rule) => compileRule(rule, [...INTERFACES]));
}

function tableOf(texts: readonly string[], family: 4 | 6 = 4): MarkTable {
  const table = new MarkTable(MarkTable.buffer());
  table.publish(compiled(texts, family));
  return table;
}

function markOf(table: MarkTable, packet: Packet): number {
  const { protocol, source, destination, sourcePort, destinationPort, interfaceSlot } = packet;
  const pair = (sourcePort << 16) | destinationPort;
  const mark = table.mark4(
    protocol,
    parseIpv4(source),
    parseIpv4(destination),
    pair,
    interfaceSlot,
  );
  return mark >>> 0;
}

function markOf6(table: MarkTable, packet: Packet): number {
  const { protocol, sourcePort, destinationPort, interfaceSlot } = packet;
  const [s0, s1, s2, s3] = addressWords(packet.source);
  const [d0, d1, d2, d3] = addressWords(packet.destination);
  const pair = (sourcePort << 16) | destinationPort;
  return table.mark6(protocol, s0!, s1!, s2!, s3!, d0!, d1!, d2!, d3!, pair, interfaceSlot) >>> 0;
}

if (!isMainThread) {
  const table = new MarkTable(workerData as SharedArrayBuffer);
  const seen = new Set<number>();
  parentPort!.postMessage('ready');
  const deadline = Date.now() + 500;
  while (Date.now() < deadline) {
    for (let i = 0; i < 100; i++) seen.add(table.mark4(6, 1, 2, 3, 0));
  }
  parentPort!.postMessage([...seen].sort());
} else {
  test('marks are those of a slow model', () => {
    fc.assert(
      fc.property(
        fc.array(specs, { minLength: 1, maxLength: 12 }),
        fc.array(packets, { minLength: 1, maxLength: 20 }),
        (rules, some) => {
          const table = tableOf(rules.map(ruleText));
          for (const packet of some) {
            assert.equal(markOf(table, packet), modelMark(rules, packet), JSON.stringify(packet));
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('marks of IPv6 packets are those of a slow model', () => {
    let marked = 0;
    fc.assert(
      fc.property(
        fc.array(specsOf(6), { minLength: 1, maxLength: 12 }),
        fc.array(packetsOf(6), { minLength: 1, maxLength: 20 }),
        (rules, some) => {
          const table = tableOf(rules.map(ruleText), 6);
          for (const packet of some) {
            const mark = modelMark(rules, packet);
            assert.equal(markOf6(table, packet), mark, JSON.stringify(packet));
            if (mark !== 0) marked++;
          }
        },
      ),
      { numRuns: 1000 },
    );
    assert.ok(marked > 1000, `${marked} packets were marked`);
  });

  test('the random rules and packets meet: many marks come out', () => {
    const marked = fc
      .sample(fc.tuple(fc.array(specs, { minLength: 4, maxLength: 12 }), packets), 1000)
      .filter(([rules, packet]) => modelMark(rules, packet) !== 0).length;
    assert.ok(marked > 250 && marked < 990, `${marked} of 1000 packets were marked`);
  });

  test('rules run in order and none ends the walk', () => {
    const packet: Packet = {
      protocol: 6,
      source: '10.0.0.1',
      destination: '192.168.0.200',
      sourcePort: 40000,
      destinationPort: 443,
      interfaceSlot: 1,
    };
    const lvs = '-d 192.168.0.200 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 66';
    assert.equal(markOf(tableOf([lvs]), packet), 66);
    assert.equal(markOf(tableOf([lvs]), { ...packet, destinationPort: 22 }), 0);
    assert.equal(markOf(tableOf([lvs, '-j MARK --set-mark 7']), packet), 7);
    assert.equal(markOf(tableOf([lvs, '-j MARK --set-mark 0x100/0xf00']), packet), 0x142);
    assert.equal(markOf(tableOf([lvs, '-m mark --mark 66 -j MARK --and-mark 2']), packet), 2);
    assert.equal(markOf(tableOf(['-i eth0 -j MARK --set-mark 1', lvs]), packet), 66);
    assert.equal(markOf(tableOf(['-j MARK --set-mark 0xffffffff']), packet), 0xffffffff);
  });

  test('rules for one family leave packets of the other alone', () => {
    const six = tableOf(['-j MARK --set-mark 1'], 6);
    assert.equal(six.count, 1);
    assert.equal(six.mark4(6, 1, 2, 3, 0), 0);
    assert.equal(six.mark6(6, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0), 1);
    const four = tableOf(['-j MARK --set-mark 1']);
    assert.equal(four.mark4(6, 1, 2, 3, 0), 1);
    assert.equal(four.mark6(6, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0), 0);
  });

  test('services are found by mark and family, beside those with addresses', () => {
    const services = new ServiceTable(ServiceTable.buffer());
    const create = (family: number, fwmark: number, port = 0): number => {
      const address = new Int32Array(4);
      return services.create({ family, protocol: 6, address, port, fwmark }, 0);
    };
    const four = create(4, 66);
    const six = create(6, 66);
    const high = create(4, 0xffffffff);
    const plain = create(4, 0, 66);
    assert.equal(new Set([0, four, six, high, plain]).size, 5);
    assert.equal(services.findMark(4, 66), four);
    assert.equal(services.findMark(6, 66), six);
    assert.equal(services.findMark(4, -1), high, 'marks are int32 in the table');
    assert.equal(services.findMark(6, -1), 0);
    assert.equal(services.find4(6, 0, 66), plain);
    assert.equal(services.find4(6, 0, 0), 0, 'a service by mark has no address');
    services.remove(four);
    assert.equal(services.findMark(4, 66), 0);
    assert.equal(services.findMark(6, 66), six);
    const again = create(4, 66);
    assert.equal(services.findMark(4, 66), again);
  });

  test('many marks come and go in the index', () => {
    const services = new ServiceTable(ServiceTable.buffer());
    const slots = new Map<number, number>();
    const address = new Int32Array(4);
    for (let mark = 1; mark <= 5000; mark++) {
      const record = { family: 4, protocol: 6, address, port: 0, fwmark: mark };
      slots.set(mark, services.create(record, 0));
    }
    for (let mark = 1; mark <= 5000; mark += 3) {
      services.remove(slots.get(mark)!);
      slots.set(mark, 0);
    }
    for (const [mark, slot] of slots) assert.equal(services.findMark(4, mark), slot);
  });

  test('no more rules than fit', () => {
    const [rule] = compiled(['-j MARK --xor-mark 1']);
    const table = new MarkTable(MarkTable.buffer());
    table.publish(new Array<Int32Array>(MARK_RULES_MAX).fill(rule!));
    assert.equal(table.count, MARK_RULES_MAX);
    assert.throws(() => table.publish(new Array<Int32Array>(MARK_RULES_MAX + 1).fill(rule!)), {
      message: '257 mark rules: at most 256 are allowed',
    });
    assert.equal(table.count, MARK_RULES_MAX);
    table.publish([]);
    assert.equal(table.count, 0);
  });

  test('a reader never sees parts of two sets of rules', async () => {
    const sets = [1, 2].map((bit) =>
      new Array<Int32Array>(255).fill(compiled([`-j MARK --xor-mark ${bit}`])[0]!),
    );
    const buffer = MarkTable.buffer();
    const table = new MarkTable(buffer);
    table.publish(sets[0]!);
    const worker = new Worker(__filename, { workerData: buffer });
    const messages: unknown[] = [];
    const done = new Promise<void>((resolve, reject) => {
      worker.on('error', reject);
      worker.on('exit', () => resolve());
      worker.on('message', (message) => messages.push(message));
    });
    let ended = false;
    void done.then(() => {
      ended = true;
    });
    for (let round = 0; !ended && round < 100_000; round++) {
      table.publish(sets[round & 1]!);
      // As far apart as changes of rules are at the very least.
      await new Promise((resolve) => setImmediate(resolve));
    }
    await done;
    assert.deepEqual(messages, ['ready', [1, 2]]);
  });
}
