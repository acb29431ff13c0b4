/**
 * Destination hashing (IPVS "dh"): the server belongs to the address the client connects to. The
 * table's 256 slots are dealt out to the servers in turn, whatever their weight, when servers are
 * added or removed; there is no second choice.
 */
import { hash32 } from './hash';
import type { ScheduleRequest } from './request';
import type { SchedulerTables, ServerShare } from './tables';

export const DESTINATION_SLOTS = 256;
const BITS = 8;

export function scheduleDestinationHash(
  tables: SchedulerTables,
  service: number,
  request: ScheduleRequest,
): number {
  const { schedulerTable, realServers } = tables;
  const slot = hash32(request.destinationFold, BITS);
  const server = schedulerTable.slots[schedulerTable.active(service) + slot]!;
  return server !== 0 && realServers.isChoosable(server) ? server : 0;
}

/** Places in the list of servers, from 1; 0 where there is none. */
export function dealDestinations(servers: readonly ServerShare[]): Uint16Array {
  const places = new Uint16Array(DESTINATION_SLOTS);
  if (servers.length === 0) return places;
  for (let slot = 0; slot < DESTINATION_SLOTS; slot++) places[slot] = (slot % servers.length) + 1;
  return places;
}
