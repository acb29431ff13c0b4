/**
 * The real server that explain names is the one that the live scheduler chooses next: every
 * scheduler but twos, which draws lots; persistence; marks; and nothing moves on by asking.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Names } from '#xvs/control/explain/names';
import { type Rehearsal, rehearse } from '#xvs/control/explain/rehearse';
import type { ServiceKey, ServiceSettings } from '#xvs/control/protocol';
import { SCHEDULER_NAMES } from '#xvs/scheduler/index';
import { ethernet } from '../../../support/packet';
import { CLIENT_SIDE, SERVERS, Simulation, serverAddress, VIP } from '../../../support/simulation';

const CONNECTIONS = 24;

function ask(simulation: Simulation, frame: Uint8Array): Rehearsal {
  const { memory, tick } = simulation;
  const names = new Names(simulation.director, ['d0', 'd1']);
  return rehearse({ memory, names, slot: CLIENT_SIDE, frame, tick });
}

function createService(settings: Partial<ServiceSettings>, key: Partial<ServiceKey> = {}) {
  const simulation = new Simulation();
  const service = simulation.addService(key, settings);
  for (const number of SERVERS) {
    simulation.addServer(service, serverAddress(number), key.fwmark === undefined ? 8000 : 0, {
      weight: [3, 1, 2, 5][number - 1]!,
      upperThreshold: number === 2 ? 3 : 0,
    });
  }
  return simulation;
}

/** Asks about each connection twice, lets it in, compares; returns how many servers were met. */
function follow(simulation: Simulation): number {
  const met = new Set<string>();
  for (let number = 0; number < CONNECTIONS; number++) {
    const source = `172.16.${number % 5}.${number % 3}`;
    const ip = ethernet().ipv4({ source, destination: VIP });
    const frame = ip.tcp({ source: 41000 + number, flags: 'S' }).build();
    const told = [ask(simulation, frame), ask(simulation, frame)];
    simulation.receive(CLIENT_SIDE, frame);
    const listed = simulation.connections().filter((each) => each.clientPort === 41000 + number);
    const [row] = listed;
    if (row === undefined) {
      // ovf, when each server has as many as its weight says.
      for (const { verdict } of told) assert.equal(verdict, 'no_real_server');
      continue;
    }
    const { real, realPort } = row;
    for (const { counted, connections } of told) {
      assert.ok(counted.server?.startsWith(`${real}:`), `${counted.server}, not ${real}`);
      const made = connections.map(({ after }) => after).join();
      assert.match(
        made,
        new RegExp(` at ${real.replaceAll('.', '\\.')}:${realPort}, nat, SYN_RECV`),
      );
    }
    met.add(real);
    simulation.advance(number % 7);
  }
  return met.size;
}

for (const scheduler of SCHEDULER_NAMES.filter((name) => name !== 'twos')) {
  test(`explain chooses as ${scheduler} does`, () => {
    const met = follow(createService({ scheduler }));
    const isSingle = ['fo', 'dh', 'lblc', 'lblcr'].includes(scheduler);
    assert.ok(met > 1 || (isSingle && met === 1), `${met} servers were chosen`);
  });
}

test('explain follows persistence templates', () => {
  const simulation = createService({ scheduler: 'rr', persistentTimeout: 300 });
  follow(simulation);
  const frame = ethernet().ipv4({ source: '172.16.0.0' }).tcp({ source: 5, flags: 'S' }).build();
  const { steps } = ask(simulation, frame);
  assert.match(steps.find(({ step }) => step === 'template')?.text ?? '', /template, NONE/);
  const other = ethernet().ipv4({ source: '172.16.9.9' }).tcp({ source: 5, flags: 'S' }).build();
  const made = ask(simulation, other).steps.filter(({ step }) => step === 'template');
  assert.match(made.map(({ text }) => text).join(), /none,a new one, to 10\.0\.2\.1\d:8000/);
});

test('explain follows marks', () => {
  const simulation = createService(
    { scheduler: 'wrr' },
    { fwmark: 66, address: '0.0.0.0', port: 0 },
  );
  const rules = ['-d 198.51.100.1 -p tcp --dport 80 -j MARK --set-mark 66'];
  simulation.marks.execute({ operation: 'append', family: 4, rules });
  follow(simulation);
  const frame = ethernet().ipv4({}).tcp({ flags: 'S' }).build();
  const texts = ask(simulation, frame).steps.map(({ step, text }) => `${step}: ${text}`);
  assert.ok(texts.includes('mark: the rules give 66'), texts.join('\n'));
  assert.ok(texts.includes('service: of mark 66: fwmark 66 4'), texts.join('\n'));
});

test('a full table, and a service without servers', () => {
  const simulation = new Simulation({ connectionCapacity: 1024 });
  simulation.addService();
  const frame = ethernet().ipv4({}).tcp({ flags: 'S' }).build();
  assert.equal(ask(simulation, frame).verdict, 'no_real_server');
  const { connections } = simulation.tables;
  while (connections.allocate(0) !== 0);
  const told = ask(simulation, frame);
  assert.equal(told.verdict, 'table_full');
  assert.match(told.steps.at(-1)?.text ?? '', /the connection table is full/);
});
