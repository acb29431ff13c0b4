/**
 * Every scheduler against a plain model (test/support/schedulerModel.ts): random sequences of
 * servers added, edited, removed, quiesced and overloaded, of connections that begin, fall idle
 * and end, and of hours that pass. The choices must be the same, one by one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SCHEDULER_NAMES } from '#xvs/scheduler/index';
import { type ModelServer, SchedulerModel } from '../../support/schedulerModel';
import { Scheduling, serverKey } from '../../support/scheduling';

const SERVERS = 6;
const RUNS = Number(process.env['XVS_TEST_RUNS'] ?? 60);
/** twos draws: see twos.test.ts. */
const NAMES = SCHEDULER_NAMES.filter((name) => name !== 'twos');

const weight = fc.oneof(fc.nat({ max: 6 }), fc.constantFrom(0, 10, 100, 250, 300, 4096, 65535));
const server = fc.integer({ min: 1, max: SERVERS });
const event = fc.oneof(
  { weight: 2, arbitrary: fc.record({ op: fc.constant('add' as const), server, weight }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('edit' as const),
      server,
      weight,
      upper: fc.constantFrom(...[0, 0, 0, 1, 3, 100]),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('remove' as const), server }) },
  {
    weight: 10,
    arbitrary: fc.record({
      op: fc.constant('connect' as const),
      client: fc.nat({ max: 40 }),
      port: fc.integer({ min: 40000, max: 40010 }),
      destination: fc.nat({ max: 5 }),
      count: fc.integer({ min: 1, max: 8 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('end' as const), place: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('idle' as const), place: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('wait' as const),
      ticks: fc.constantFrom(1, 36_000, 864_000, 864_001),
    }),
  },
);
type Event = typeof event extends fc.Arbitrary<infer Of> ? Of : never;

interface Held {
  readonly server: ModelServer;
  readonly slot: number;
  active: boolean;
}

class Comparison {
  readonly real: Scheduling;
  readonly model: SchedulerModel;
  readonly held: Held[] = [];
  /** Removed servers are revived, with their counts. */
  readonly #all = new Map<number, ModelServer>();
  choices = 0;

  constructor(real: Scheduling, scheduler: string, flags: readonly [boolean, boolean]) {
    this.real = real;
    this.model = new SchedulerModel(scheduler, flags);
    real.start(scheduler, flags);
    this.model.changed('begin');
  }

  do(next: Event): void {
    const known = 'server' in next ? this.#find(next.server) : undefined;
    switch (next.op) {
      case 'add':
        if (known === undefined) this.#add(next.server, next.weight);
        break;
      case 'edit':
        if (known === undefined) break;
        this.real.change(next.server, next.weight, { upperThreshold: next.upper });
        known.weight = next.weight;
        if (next.weight !== 0) known.lastWeight = next.weight;
        this.model.changed('edit');
        break;
      case 'remove':
        if (known !== undefined) this.#remove(known);
        break;
      case 'connect':
        for (let i = 0; i < next.count; i++)
          this.#connect(next.client + i, next.port, next.destination);
        break;
      case 'end':
        if (this.held.length > 0) this.#end(next.place % this.held.length);
        break;
      case 'idle':
        if (this.held.length > 0) this.#idle(this.held[next.place % this.held.length]!);
        break;
      case 'wait':
        this.real.tick += next.ticks;
        break;
    }
  }

  #find(number: number): ModelServer | undefined {
    return this.model.list.find((server) => server.number === number);
  }

  #add(number: number, weightOf: number): void {
    this.real.add(number, weightOf);
    const { address, port } = serverKey(number);
    const fresh = { overloaded: false, active: 0, inactive: 0 };
    const added: ModelServer = this.#all.get(number) ?? {
      ...{ number, address, port, weight: 0, lastWeight: 0, available: true },
      ...fresh,
    };
    Object.assign(added, { weight: weightOf, lastWeight: weightOf, available: true });
    this.#all.set(number, added);
    this.model.list.unshift(added);
    this.model.changed('add');
  }

  #remove(server: ModelServer): void {
    const at = this.model.list.indexOf(server);
    this.real.remove(server.number);
    this.model.list.splice(at, 1);
    server.available = false;
    this.model.changed('delete', server, this.model.list[at - 1]);
  }

  #connect(client: number, port: number, destination: number): void {
    // Whether a server is overloaded is the table's business, and tested there.
    for (const server of this.model.list) {
      const slot = this.real.serverSlot(server.number);
      server.overloaded = this.real.tables.realServers.isOverloaded(slot);
    }
    const call = {
      client: `172.16.${client}.${client * 5}`,
      port,
      destination: `198.51.100.${destination}`,
    };
    const expected = this.model.choose({ ...call, tick: this.real.tick });
    const chosen = this.real.choose(call);
    assert.equal(chosen, expected?.number ?? 0, `choice ${this.choices} for ${call.client}`);
    this.choices++;
    if (expected === undefined) return;
    expected.active++;
    const slot = this.real.serverSlot(expected.number);
    this.held.push({ server: expected, slot, active: true });
  }

  #idle(held: Held): void {
    if (!held.active) return;
    this.real.tables.realServers.move(held.slot, false);
    held.active = false;
    held.server.active--;
    held.server.inactive++;
  }

  #end(place: number): void {
    const [held] = this.held.splice(place, 1);
    this.real.end(held!.slot, held!.active);
    if (held!.active) held!.server.active--;
    else held!.server.inactive--;
  }

  finish(): void {
    while (this.held.length > 0) this.#end(0);
  }
}

const FLAGS: Readonly<Record<string, readonly (readonly [boolean, boolean])[]>> = {
  sh: [
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ],
  mh: [
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ],
};

for (const name of NAMES) {
  for (const flags of FLAGS[name] ?? [[false, false] as const]) {
    const title = `${flags[0] ? ' with fallback' : ''}${flags[1] ? ' with port' : ''}`;
    test(`${name}${title} chooses as its model does`, () => {
      const real = new Scheduling();
      let choices = 0;
      let chosen = 0;
      fc.assert(
        fc.property(fc.array(event, { minLength: 20, maxLength: 80 }), (events) => {
          const comparison = new Comparison(real, name, flags);
          comparison.do({ op: 'add', server: 1, weight: 3 });
          comparison.do({ op: 'add', server: 2, weight: 2 });
          try {
            for (const next of events) comparison.do(next);
          } finally {
            choices += comparison.choices;
            chosen += comparison.held.length;
            comparison.finish();
          }
        }),
        { numRuns: RUNS },
      );
      assert.ok(choices > RUNS * 10 && chosen > RUNS, `${choices} choices, ${chosen} held`);
    });
  }
}

test('wrr goes on as its model does after all servers were overloaded', () => {
  const real = new Scheduling();
  const limited = fc.array(fc.tuple(weight, fc.integer({ min: 1, max: 3 })), {
    minLength: 1,
    maxLength: SERVERS,
  });
  const steps = fc.array(
    event.filter(({ op }) => op === 'connect' || op === 'end'),
    { minLength: 10, maxLength: 60 },
  );
  let refused = 0;
  fc.assert(
    fc.property(limited, steps, (servers, events) => {
      const comparison = new Comparison(real, 'wrr', [false, false]);
      servers.forEach(([weightOf, upper], at) => {
        comparison.do({ op: 'add', server: at + 1, weight: weightOf });
        comparison.do({ op: 'edit', server: at + 1, weight: weightOf, upper });
      });
      try {
        for (const next of events) comparison.do(next);
      } finally {
        refused += comparison.choices - comparison.held.length;
        comparison.finish();
      }
    }),
    { numRuns: RUNS * 5 },
  );
  assert.ok(refused > RUNS, `only ${refused} connections met overloaded servers`);
});

test('a change of scheduler begins anew, the same one goes on where it was', () => {
  const real = new Scheduling();
  real.start('wrr');
  for (const [number, weightOf] of [
    [1, 4],
    [2, 3],
    [3, 2],
  ] as const)
    real.add(number, weightOf);
  assert.equal(real.sequence(4, false), 'CBAA');
  real.edit('wrr');
  assert.equal(real.sequence(2, false), 'BA', 'goes on in the round');
  for (const name of [...SCHEDULER_NAMES, 'wrr']) {
    real.edit(name);
    const first = real.choose({ client: '10.0.0.1' });
    assert.ok(first >= 1 && first <= 3, `${name} chose ${first}`);
    real.end(real.serverSlot(first), true);
  }
  real.edit('rr');
  real.edit('wrr');
  assert.equal(real.sequence(9, false), 'ABACBACBA', 'from the largest weight down');
});
