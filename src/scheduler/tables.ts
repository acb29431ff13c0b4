/** The tables schedulers read and change: part of a director's `Tables`. */
import type { LocalityTable } from '../table/locality';
import type { RealServerTable } from '../table/realServer';
import type { SchedulerTable } from '../table/schedulerTable';
import type { ServiceTable } from '../table/service';
import type { Settings } from '../table/setting';

export interface SchedulerTables {
  readonly services: ServiceTable;
  readonly realServers: RealServerTable;
  readonly schedulerTable: SchedulerTable;
  readonly localities: LocalityTable;
  readonly settings: Settings;
}

/** A real server as lookup tables are built from it; they list servers in list order. */
export interface ServerShare {
  /** Four words, host order, IPv4 in the first. */
  readonly address: Int32Array;
  readonly port: number;
  readonly weight: number;
  /** The last weight above 0, or the weight it was added with. */
  readonly lastWeight: number;
}
