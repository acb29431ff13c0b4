/**
 * Following single commands gives the XDP program the same maps as telling it everything does, as
 * soon as removals are told; what is added is there at once.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Director } from '#xvs/control/director';
import type { Command, ServerSettings, ServiceKey, ServiceSettings } from '#xvs/control/protocol';
import { Redirect } from '#xvs/control/redirect';
import { RedirectFollower } from '#xvs/control/redirectFollower';
import { attachTables, createMemory } from '#xvs/table/memory';

type Program = ConstructorParameters<typeof Redirect>[0];

/** The kernel's side of the maps, counting what is written. */
class Maps {
  readonly held = new Map<string, string>();
  writes = 0;

  readonly program = {
    mapUpdate: (map: string, key: Uint8Array, value: Uint8Array) => {
      this.writes++;
      this.held.set(
        `${map} ${Buffer.from(key).toString('hex')}`,
        Buffer.from(value).toString('hex'),
      );
    },
    mapDelete: (map: string, key: Uint8Array) => {
      this.writes++;
      assert.ok(this.held.delete(`${map} ${Buffer.from(key).toString('hex')}`), 'there is no such');
    },
  } as unknown as Program;

  entries(): string[] {
    return [...this.held].map(([key, value]) => `${key} ${value}`).sort();
  }
}

const SETTINGS: ServiceSettings = {
  scheduler: 'rr',
  persistentTimeout: 0,
  netmask: '255.255.255.255',
  onePacket: false,
  schedulerFlags: [false, false, false],
  persistenceEngine: '',
};
const SERVER: ServerSettings = {
  method: 'nat',
  weight: 1,
  upperThreshold: 0,
  lowerThreshold: 0,
  tunnel: { type: 'ipip', port: 0, checksum: 'nocsum' },
};

function serviceAt(port: number): ServiceKey {
  return { family: 4, protocol: 'tcp', address: '10.0.0.1', port, fwmark: 0 };
}

function newDirector(changed: (director: Director, command: Command | null) => void): Director {
  const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
  const director: Director = new Director(
    attachTables(memory, () => {}),
    (command) => changed(director, command),
  );
  return director;
}

const commands = fc.oneof(
  fc.record({
    command: fc.constantFrom('add-service', 'delete-service'),
    port: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({
    command: fc.constantFrom('add-server', 'delete-server', 'edit-server'),
    port: fc.integer({ min: 1, max: 4 }),
    server: fc.integer({ min: 1, max: 3 }),
  }),
  fc.constant({ command: 'flush' as const }),
);

function commandOf(step: { command: string; port?: number; server?: number }): Command {
  const { command } = step;
  if (command === 'flush') return { command };
  const service = serviceAt(step.port ?? 0);
  if (step.server === undefined) return { command, service, settings: SETTINGS } as Command;
  const server = { family: 4, address: `192.168.0.${step.server}`, port: 80 };
  return { command, service, server, settings: SERVER } as Command;
}

test('command by command, the maps become what they are when told as a whole', () => {
  const property = fc.property(fc.array(commands, { maxLength: 60 }), (steps) => {
    const maps = new Maps();
    const follower = new RedirectFollower(new Redirect(maps.program));
    const director = newDirector((one, command) => follower.changed(one, command));
    for (const step of steps) {
      try {
        director.execute(commandOf(step));
      } catch (error) {
        assert.equal((error as Error).name, 'DirectorError');
      }
      const whole = new Maps();
      new Redirect(whole.program).updateServices(director);
      const there = new Set(maps.entries());
      const missing = whole.entries().filter((entry) => !there.has(entry));
      assert.deepEqual(missing, [], `after ${JSON.stringify(step)}`);
    }
    follower.update(director);
    const whole = new Maps();
    new Redirect(whole.program).updateServices(director);
    assert.deepEqual(maps.entries(), whole.entries());
  });
  fc.assert(property, { numRuns: 200 });
});

test('ten thousand commands write what they add once, in time that grows with them alone', () => {
  const maps = new Maps();
  const follower = new RedirectFollower(new Redirect(maps.program));
  const director = newDirector((one, command) => follower.changed(one, command));
  const began = performance.now();
  for (let port = 1; port <= 10_000; port++) {
    director.execute({ command: 'add-service', service: serviceAt(port), settings: SETTINGS });
  }
  assert.ok(maps.writes < 10_010, `${maps.writes} writes`);
  for (let port = 1; port <= 10_000; port++) {
    director.execute({ command: 'delete-service', service: serviceAt(port) });
  }
  const tookMs = performance.now() - began;
  follower.close();
  assert.ok(tookMs < 5000, `they took ${tookMs.toFixed(0)} ms`);
});
