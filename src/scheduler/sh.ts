/**
 * Source hashing (IPVS "sh"): the server belongs to the client's address, with flag sh-port to its
 * port too. The table's 256 slots are dealt out in list order, to each server as many at a time as
 * its weight says, at least one, and anew on every change. With flag sh-fallback other slots are
 * tried when the server is not to be had: the first retry is at twice the slot.
 */
import { SCHEDULER_FLAG_FALLBACK, SCHEDULER_FLAG_PORT } from '../table/service';
import { hash32 } from './hash';
import type { ScheduleRequest } from './request';
import type { SchedulerTables, ServerShare } from './tables';

export const SOURCE_SLOTS = 256;
const BITS = 8;
const MASK = SOURCE_SLOTS - 1;

export function scheduleSourceHash(
  tables: SchedulerTables,
  service: number,
  request: ScheduleRequest,
): number {
  const { schedulerTable, realServers, services } = tables;
  const { slots } = schedulerTable;
  const flags = services.schedulerFlags(service);
  const port = (flags & SCHEDULER_FLAG_PORT) === 0 ? 0 : request.sourcePort;
  const table = schedulerTable.active(service);
  const hash = hash32((request.sourceFold + port) | 0, BITS);
  const server = slots[table + hash]!;
  if (server === 0) return 0;
  if (realServers.isChoosable(server)) return server;
  if ((flags & SCHEDULER_FLAG_FALLBACK) === 0) return 0;
  for (let offset = 0; offset < SOURCE_SLOTS; offset++) {
    const other = slots[table + ((2 * hash + offset) & MASK)]!;
    if (other === 0) return 0;
    if (realServers.isChoosable(other)) return other;
  }
  return 0;
}

/** Places in the list of servers, from 1; 0 where there is none. */
export function dealSources(servers: readonly ServerShare[]): Uint16Array {
  const places = new Uint16Array(SOURCE_SLOTS);
  if (servers.length === 0) return places;
  let at = 0;
  let dealt = 0;
  for (let slot = 0; slot < SOURCE_SLOTS; slot++) {
    places[slot] = at + 1;
    dealt++;
    if (dealt < servers[at]!.weight) continue;
    at = (at + 1) % servers.length;
    dealt = 0;
  }
  return places;
}
