/**
 * What explain says of a packet is what the pipeline then does to it: verdict, counters, the bytes
 * that leave and those that the host gets, for traffic of every kind; and nothing is changed by
 * asking.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { describeFrame } from '#xvs/control/explain/frameText';
import { Names } from '#xvs/control/explain/names';
import { countersByName, type Rehearsal, rehearse, verdictOf } from '#xvs/control/explain/rehearse';
import {
  realServerTraffic,
  serviceTraffic,
  TRAFFIC_IN_PACKETS,
  TRAFFIC_OUT_PACKETS,
} from '#xvs/table/counter';
import {
  createWorld,
  error,
  fromClient,
  fromServer,
  pieces,
  type World,
} from '../../../support/anyTraffic';
import { summary } from '../../../support/decode';
import { CLIENT_SIDE, type Outcome, SERVER_SIDE, type Side } from '../../../support/simulation';

/** Worlds in a row, and at most. */
const RUNS = 6;
const RUNS_MAX = 300;
const STEPS = 50;
/** Packets that are compared at least, over all runs. */
const COMPARED_MIN = 1000;

/** Identifications are the worker's own, and so are ICMP's and IPv4's sums over them. */
function withoutIds(frame: Uint8Array): string {
  const copy = Uint8Array.from(frame);
  const isIpv4 = copy[12] === 8 && copy[13] === 0;
  if (isIpv4) copy.fill(0, 18, 20).fill(0, 24, 26);
  // A fragment header that the director made of a tunnel's packet.
  else if (copy[20] === 44) copy.fill(0, 58, 62);
  return Buffer.from(copy).toString('hex');
}

interface Comparison {
  readonly world: World;
  readonly side: Side;
  readonly frame: Uint8Array;
  readonly worker: number;
}

function ask({ world, side, frame, worker }: Comparison): Rehearsal {
  const { simulation } = world;
  const names = new Names(simulation.director, ['d0', 'd1']);
  const { memory, tick } = simulation;
  return rehearse({ memory, names, slot: side, frame, tick, worker });
}

/** Words of tables that a packet might change. */
function liveWords({ simulation }: World): number[] {
  const { services, realServers, connections } = simulation.tables;
  const [service] = simulation.director.services;
  const servers = service!.servers.map(({ slot }) => realServers.load(slot));
  const entries = Buffer.from(
    connections.entries.buffer,
    connections.entries.byteOffset,
    connections.usedEnd << 6,
  );
  return [
    createHash('sha256').update(entries).digest().readInt32BE(),
    services.position(service!.slot),
    ...servers,
    connections.freeCount,
  ];
}

/** A worker's own counters, as a block that holds nothing else. */
function ownCounters({ world, worker }: Comparison): Float64Array {
  return world.simulation.tables.counters[worker]!.slice(0, serviceTraffic(0));
}

/** Packets of the service, then of its server. */
function traffic({ world, worker }: Comparison): readonly [number, number] {
  const counters = world.simulation.tables.counters[worker]!;
  const [service] = world.simulation.director.services;
  const packets = (at: number): number =>
    counters[at + TRAFFIC_IN_PACKETS]! + counters[at + TRAFFIC_OUT_PACKETS]!;
  const server = service!.servers[0]!.slot;
  return [packets(serviceTraffic(service!.slot)), packets(realServerTraffic(server))];
}

/** Lets the frame in at one worker, which then does nothing else. */
function receiveOne({ world, side, frame, worker }: Comparison): Outcome {
  const { simulation } = world;
  const simulated = simulation.workers[worker]!;
  const port = simulated.ports[side];
  port.inject(frame);
  simulated.pipeline.process(port, port.receive());
  for (const each of simulated.ports) each.transmit();
  return simulated.take();
}

/** What the parser refused is the verdict; the TTL that was told is the one that leaves. */
function compareSteps({ steps, verdict, sent }: Rehearsal, context: string): void {
  const refused = steps.map(({ text }) => /^refused, (\w+):/.exec(text)?.[1]).find(Boolean);
  if (refused !== undefined) assert.equal(verdict, refused, context);
  const said = steps.find(({ step }) => step === 'ttl')?.text;
  const leaves = / (\d+) when it leaves$/.exec(said ?? '')?.[1];
  if (leaves === undefined || verdict !== 'forwarded') return;
  for (const { frame } of sent) {
    const text = describeFrame(frame);
    const ttls = [...text.matchAll(/(?:TTL|hop limit) (\d+)/g)].map(([, ttl]) => ttl);
    assert.ok(ttls.includes(leaves), `${text}\n${context}`);
  }
}

function compare(comparison: Comparison): Outcome {
  const { world, frame } = comparison;
  const live = liveWords(world);
  const told = ask(comparison);
  assert.deepEqual(liveWords(world), live, 'explain has changed a table');
  const before = ownCounters(comparison);
  const [ofService, ofServer] = traffic(comparison);
  const outcome = receiveOne(comparison);
  const after = ownCounters(comparison).map((count, at) => count - before[at]!);
  const context = `${summary(frame)}\n${told.steps.map(({ text }) => text).join('\n')}`;
  assert.deepEqual(told.counters, countersByName(after), context);
  assert.equal(told.verdict, verdictOf(after), context);
  compareSteps(told, context);
  for (const side of [CLIENT_SIDE, SERVER_SIDE] as const) {
    const sent = told.sent.filter(({ slot }) => slot === side).map((each) => each.frame);
    assert.deepEqual(sent.map(withoutIds), outcome.sent[side].map(withoutIds), context);
  }
  assert.deepEqual(told.host.map(withoutIds), outcome.host.map(withoutIds), context);
  const { service, server } = told.counted;
  const [service1, server1] = traffic(comparison);
  assert.deepEqual(
    [service !== null, server !== null],
    [service1 > ofService, server1 > ofServer],
    context,
  );
  return outcome;
}

/** A worker that holds frames, or may not answer any more, knows more than the tables say. */
function isComparable({ simulation }: World, worker: number): boolean {
  const { pipeline, umem } = simulation.workers[worker]!;
  return pipeline.egress.waiting + pipeline.fragments.held === 0 && umem.freeCount > 8;
}

function take(world: World, { sent }: Outcome): void {
  for (const side of [CLIENT_SIDE, SERVER_SIDE] as const) {
    for (const frame of sent[side]) world.sent.push({ side, frame });
  }
  world.sent.splice(0, Math.max(0, world.sent.length - 20));
}

function next(world: World): { side: Side; frame: Uint8Array } | null {
  const kind = world.lot.below(10);
  if (kind < 6) return { side: CLIENT_SIDE, frame: fromClient(world) };
  if (kind >= 8) return error(world);
  const frame = fromServer(world);
  return frame === null ? null : { side: SERVER_SIDE, frame };
}

test('explain and the pipeline agree on traffic of every kind', () => {
  let compared = 0;
  const verdicts = new Set<string>();
  const property = fc.property(fc.integer(), (seed) => {
    const world = createWorld(seed);
    const { lot, simulation } = world;
    for (let step = 0; step < STEPS; step++) {
      if (lot.below(6) === 0) take(world, simulation.advance(1 + lot.below(40)));
      const packet = next(world);
      if (packet === null) continue;
      for (const frame of pieces(world, packet.frame)) {
        const worker = lot.below(2);
        if (isComparable(world, worker)) {
          take(world, compare({ world, side: packet.side, frame, worker }));
          compared++;
        } else take(world, simulation.receive(packet.side, frame, worker));
      }
      simulation.assertNoLeak();
    }
    for (const name of Object.keys(simulation.verdicts())) verdicts.add(name);
  });
  for (let runs = 0; compared < COMPARED_MIN; runs += RUNS) {
    assert.ok(runs < RUNS_MAX, `${runs} worlds have ${compared} packets that can be compared`);
    fc.assert(property, { numRuns: RUNS, endOnFailure: true });
  }
  assert.ok(verdicts.size >= 6, `only ${[...verdicts].join(', ')}`);
});
