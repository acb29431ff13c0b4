/**
 * One service of a real director on real tables, and its scheduler asked directly, as a worker
 * asks it: under the service's lock, with the connection bound to whom it chose. Servers go by
 * number: server n is 10.0.2.(10 + n):8000 unless a test says otherwise.
 */
import assert from 'node:assert/strict';
import { Director } from '#xvs/control/director';
import type { ServerKey, ServerSettings, ServiceKey } from '#xvs/control/protocol';
import { parseIpv4 } from '#xvs/net/address';
import { schedule } from '#xvs/scheduler/index';
import { ScheduleRequest } from '#xvs/scheduler/request';
import { attachTables, createMemory, type Tables } from '#xvs/table/memory';
import { serverSettings, serviceKey, serviceSettings } from './simulation';

const OWNER = 1;
const SEED = 0x2545f491;
const TRASH_MS = 121_000;

export interface Call {
  readonly client: string;
  readonly port?: number;
  readonly destination?: string;
  readonly protocol?: number;
}

export class Scheduling {
  readonly tables: Tables;
  readonly director: Director;
  readonly key: ServiceKey = serviceKey();
  request = new ScheduleRequest(OWNER, SEED);
  tick = 5000;
  #nowMs = 0;

  constructor() {
    this.tables = attachTables(
      createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 }),
      () => {},
    );
    this.director = new Director(
      this.tables,
      () => {},
      () => this.#nowMs,
    );
  }

  /** Begins anew with a scheduler; what was before must leave nothing. */
  start(scheduler: string, flags: readonly [boolean, boolean] = [false, false]): void {
    this.director.execute({ command: 'flush' });
    this.#nowMs += TRASH_MS;
    this.director.emptyTrash();
    assert.deepEqual(this.director.trash, [], 'something still refers to removed servers');
    this.request = new ScheduleRequest(OWNER, SEED);
    this.#service('add-service', scheduler, flags);
  }

  edit(scheduler: string, flags: readonly [boolean, boolean] = [false, false]): void {
    this.#service('edit-service', scheduler, flags);
  }

  #service(
    command: 'add-service' | 'edit-service',
    scheduler: string,
    flags: readonly [boolean, boolean],
  ): void {
    const settings = serviceSettings({ scheduler, schedulerFlags: [...flags, false] });
    this.director.execute({ command, service: this.key, settings });
  }

  get slot(): number {
    return this.director.find(this.key)!.slot;
  }

  add(number: number, weight: number, settings: Partial<ServerSettings> = {}): void {
    this.#server('add-server', serverKey(number), { weight, ...settings });
  }
  change(number: number, weight: number, settings: Partial<ServerSettings> = {}): void {
    this.#server('edit-server', serverKey(number), { weight, ...settings });
  }
  remove(number: number): void {
    this.director.execute({
      command: 'delete-server',
      service: this.key,
      server: serverKey(number),
    });
  }
  #server(
    command: 'add-server' | 'edit-server',
    server: ServerKey,
    settings: Partial<ServerSettings>,
  ): void {
    this.director.execute({
      command,
      service: this.key,
      server,
      settings: serverSettings(settings),
    });
  }

  serverSlot(number: number): number {
    const { address } = serverKey(number);
    return this.director.find(this.key)!.servers.find(({ key }) => key.address === address)!.slot;
  }

  /** Slot that is chosen for a new connection, bound as active; 0: none. */
  chooseSlot(call: Call): number {
    const { tables, slot, request } = this;
    const { client, port = 40000, destination = '198.51.100.1', protocol = 6 } = call;
    request.set4(parseIpv4(client), parseIpv4(destination), port, protocol, this.tick);
    assert.ok(tables.services.lock(slot, OWNER));
    const server = schedule(tables, slot, request);
    if (server !== 0) tables.realServers.bind(server, true);
    tables.services.unlock(slot, OWNER);
    return server;
  }

  /** Number of the server that is chosen, 0: none. */
  choose(call: Call): number {
    const slot = this.chooseSlot(call);
    if (slot === 0) return 0;
    const found = this.director.find(this.key)!.servers.find((server) => server.slot === slot);
    assert.ok(found, `slot ${slot} is no server of the service`);
    return numberOf(found.key.address);
  }

  /** A chain of choices as text, such as "CBAABC": server 1 is A. */
  sequence(length: number, holds: boolean): string {
    let text = '';
    for (let i = 0; i < length; i++) {
      const number = this.choose({ client: '10.0.1.100', port: 40001 + i });
      text += number === 0 ? '-' : String.fromCharCode(64 + number);
      if (!holds && number !== 0) this.end(this.serverSlot(number), true);
    }
    return text;
  }

  end(serverSlot: number, active: boolean): void {
    this.tables.realServers.unbind(serverSlot, active);
  }
}

export function serverKey(number: number): ServerKey {
  return { family: 4, address: `10.0.2.${10 + number}`, port: 8000 };
}
function numberOf(address: string): number {
  return Number(address.split('.')[3]) - 10;
}
