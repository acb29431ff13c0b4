/** Round robin against a model: a list, a place in it, and who is eligible. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SCHEDULER_NAMES, schedule, schedulerNumber } from '#xvs/scheduler/index';
import { RealServerTable } from '#xvs/table/realServer';
import { ServiceTable } from '#xvs/table/service';

const PLAIN = {
  method: 0,
  upperThreshold: 0,
  lowerThreshold: 0,
  tunnelType: 0,
  tunnelPort: 0,
  tunnelChecksum: 0,
};

function setUp(weights: readonly number[]) {
  const services = new ServiceTable(ServiceTable.buffer());
  const realServers = new RealServerTable(RealServerTable.buffer());
  const service = services.create(
    { family: 4, protocol: 6, address: new Int32Array(4), port: 80, fwmark: 0 },
    schedulerNumber('rr'),
  );
  const slots = weights.map((weight, at) => {
    const slot = realServers.create(service, {
      family: 4,
      address: Int32Array.of(at, 0, 0, 0),
      port: 80,
    });
    realServers.configure(slot, { ...PLAIN, weight });
    return slot;
  });
  slots.forEach((slot, at) => {
    realServers.setNext(slot, slots[at + 1] ?? 0);
  });
  services.setFirstServer(service, slots[0] ?? 0);
  return { services, realServers, service, slots };
}

test('servers come in list order, one after the other, those of weight 0 left out', () => {
  const weights = fc.array(fc.nat({ max: 2 }), { maxLength: 8 });
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 2 })), { maxLength: 20 });
  fc.assert(
    fc.property(weights, edits, (initial, changes) => {
      const current = [...initial];
      const { services, realServers, service, slots } = setUp(initial);
      let last = -1;
      for (const [place, weight] of [[0, initial[0] ?? 0] as const, ...changes]) {
        for (let i = 0; i < 3; i++) {
          const order = current.map((_, at) => (last + 1 + at) % current.length);
          const expected = order.find((at) => current[at]! > 0);
          const chosen = schedule(services, realServers, service);
          assert.equal(chosen, expected === undefined ? 0 : slots[expected]);
          if (expected !== undefined) last = expected;
          assert.equal(services.position(service), last < 0 ? 0 : slots[last]);
        }
        if (current.length === 0) continue;
        const at = place % current.length;
        current[at] = weight;
        realServers.configure(slots[at]!, { ...PLAIN, weight });
      }
    }),
    { numRuns: 60 },
  );
});

test('each of n servers gets one of n connections', () => {
  const { services, realServers, service, slots } = setUp([1, 5, 100, 1]);
  for (let round = 0; round < 3; round++) {
    const chosen = slots.map(() => schedule(services, realServers, service));
    assert.deepEqual(chosen, slots, 'weights above 0 do not count');
  }
});

test('a scheduler is known by name and number; an unknown number chooses nobody', () => {
  assert.equal(schedulerNumber('rr'), SCHEDULER_NAMES.indexOf('rr'));
  assert.equal(schedulerNumber('nonesuch'), -1);
  const { services, realServers, service } = setUp([1]);
  services.setScheduler(service, 999);
  assert.equal(schedule(services, realServers, service), 0);
});
