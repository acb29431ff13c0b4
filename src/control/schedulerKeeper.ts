/**
 * Keeps the schedulers' state in shared memory in step with services and their servers. Lookup
 * tables are built before the service's lock is taken, in the half that is not in use, and turned
 * to under it together with the change itself: workers wait for neither, and choose by the new
 * servers from the moment the change is made.
 *
 * A table takes 20 µs (sh, dh) to 0.1 ms (mh) to build. While many changes are applied a service's
 * table is built once, after the last one of its changes, and then under the lock that all of
 * them are made under; mh tables that were built beforehand (`remember`, by maglevPool.ts) are only
 * copied.
 */
import { ageLocalities } from '../scheduler/age';
import { dealDestinations } from '../scheduler/dh';
import { SCHEDULER } from '../scheduler/index';
import { populateMaglev } from '../scheduler/mh';
import { dealSources } from '../scheduler/sh';
import type { ServerShare } from '../scheduler/tables';
import { restartWeightedRoundRobin } from '../scheduler/wrr';
import { CONTROL_OWNER } from '../table/lock';
import type { Tables } from '../table/memory';

export type ServerChange = 'add' | 'edit' | 'delete';

/** A server as lookup tables name it. */
export interface SlottedShare extends ServerShare {
  readonly slot: number;
}
/** A service's servers in list order, as they will be; asked for only when a table is built. */
export type Shares = () => readonly SlottedShare[];
/** Calls what it is given while the service's lock is held. */
export type Locked = (change: () => void) => void;

interface TableKind {
  readonly build: (servers: readonly ServerShare[]) => Uint16Array;
  readonly onEdit: boolean;
}
const TABLE_KINDS: ReadonlyMap<number, TableKind> = new Map([
  [SCHEDULER.dh, { build: dealDestinations, onEdit: false }],
  [SCHEDULER.sh, { build: dealSources, onEdit: true }],
  [SCHEDULER.mh, { build: populateMaglev, onEdit: true }],
]);

interface Pending {
  readonly slot: number;
  readonly shares: Shares;
  readonly locked: Locked;
}

export class SchedulerKeeper {
  readonly #tables: Tables;
  readonly #remembered = new Map<string, Uint16Array>();
  #pending: Pending | undefined;
  #postponing = false;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** A service begins with `scheduler`, or changes to it; from another when it had one. */
  begin(slot: number, scheduler: number, shares: Shares, locked: Locked): void {
    const { services, schedulerTable, localities } = this.#tables;
    const kind = TABLE_KINDS.get(scheduler);
    if (kind !== undefined) this.#write(slot, kind, shares());
    locked(() => {
      const hadTable = TABLE_KINDS.has(services.scheduler(slot));
      localities.clear(slot, CONTROL_OWNER);
      services.setScheduler(slot, scheduler);
      services.clearSchedulerState(slot);
      if (kind !== undefined) schedulerTable.turn(slot);
      else if (hadTable) schedulerTable.clear(slot);
      if (scheduler === SCHEDULER.wrr) restartWeightedRoundRobin(this.#tables, slot, true);
    });
  }

  /** Before a service goes, under its lock. A slot's next service finds nothing of it. */
  end(slot: number): void {
    const { services, schedulerTable, localities } = this.#tables;
    if (TABLE_KINDS.has(services.scheduler(slot))) schedulerTable.clear(slot);
    localities.clear(slot, CONTROL_OWNER);
  }

  /** A service's servers change by `apply`, under the lock; `shares`: as they are then. */
  change(
    slot: number,
    change: ServerChange,
    shares: Shares,
    locked: Locked,
    apply: () => void,
  ): void {
    const scheduler = this.#tables.services.scheduler(slot);
    const kind = TABLE_KINDS.get(scheduler);
    const isDue = kind !== undefined && (kind.onEdit || change !== 'edit');
    const turns = isDue && !this.#postponing;
    if (turns) this.#write(slot, kind, shares());
    locked(() => {
      apply();
      if (turns) this.#tables.schedulerTable.turn(slot);
      if (scheduler === SCHEDULER.wrr) restartWeightedRoundRobin(this.#tables, slot, false);
    });
    if (isDue && !turns) this.#pending = { slot, shares, locked };
  }

  /** From now on tables are built when `settle` is called: at a service's last change. */
  postpone(): void {
    this.#postponing = true;
  }
  settle(): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending === undefined) return;
    const { slot, shares, locked } = pending;
    const kind = TABLE_KINDS.get(this.#tables.services.scheduler(slot));
    if (kind === undefined) return;
    this.#write(slot, kind, shares());
    locked(() => this.#tables.schedulerTable.turn(slot));
  }
  /** Ends `postpone`; what was built beforehand is forgotten. */
  resume(): void {
    this.#postponing = false;
    this.#remembered.clear();
    this.settle();
  }

  /** A table for mh, built beforehand. */
  remember(servers: readonly ServerShare[], places: Uint16Array): void {
    this.#remembered.set(signature(servers), places);
  }

  #write(slot: number, kind: TableKind, servers: readonly SlottedShare[]): void {
    let places: Uint16Array | undefined;
    if (kind.build === populateMaglev && this.#remembered.size > 0) {
      places = this.#remembered.get(signature(servers));
    }
    places ??= kind.build(servers);
    this.#tables.schedulerTable.write(
      slot,
      places,
      servers.map((server) => server.slot),
    );
  }

  /** A minute has passed for the service. Returns how many addresses lblc or lblcr forgot. */
  age(slot: number, tick: number, locked: Locked): number {
    const scheduler = this.#tables.services.scheduler(slot);
    if (scheduler !== SCHEDULER.lblc && scheduler !== SCHEDULER.lblcr) return 0;
    return ageLocalities(this.#tables, slot, tick, CONTROL_OWNER, locked);
  }
}

/** What a Maglev table depends on. */
function signature(servers: readonly ServerShare[]): string {
  let text = '';
  for (const { address, port, lastWeight } of servers) {
    text += `${address[0]} ${address[1]} ${address[2]} ${address[3]} ${port} ${lastWeight},`;
  }
  return text;
}
