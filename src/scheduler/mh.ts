/**
 * Maglev hashing (IPVS "mh"; Eisenbud et al., NSDI 2016): the server belongs to the client's
 * address, with flag mh-port to its port too, and few clients change servers when servers change.
 *
 * Every server has an order of its own in which it would take the 4093 slots (first slot and
 * distance, by SipHash of its address and port); servers take turns, in list order, each as many
 * slots at a time as its share of the last weight above 0 says. A server that is quiesced keeps its
 * slots; flag mh-fallback has its clients hashed again, by one more each time. 64-bit kernels hash
 * so; their table size (CONFIG_IP_VS_MH_TAB_INDEX 12) and keys are taken over.
 */
import { SCHEDULER_FLAG_FALLBACK, SCHEDULER_FLAG_PORT } from '../table/service';
import { foldAddress, sipHash13 } from './hash';
import type { ScheduleRequest } from './request';
import type { SchedulerTables, ServerShare } from './tables';
import { greatestCommonDivisor } from './wrr';

/** A prime. */
export const MAGLEV_SLOTS = 4093;
/** Bits of the largest number of slots a server takes at a time. */
const TURN_BITS = 6;
const KEY_1 = 2654435761;
const KEY_2 = 2654446892;

export function scheduleMaglev(
  tables: SchedulerTables,
  service: number,
  request: ScheduleRequest,
): number {
  const { schedulerTable, realServers, services } = tables;
  const { slots } = schedulerTable;
  const flags = services.schedulerFlags(service);
  const port = (flags & SCHEDULER_FLAG_PORT) === 0 ? 0 : request.sourcePort;
  const client = (request.sourceFold + port) | 0;
  const table = schedulerTable.active(service);
  const slot = maglevSlot(client);
  const server = slots[table + slot]!;
  if (server === 0) return 0;
  if (realServers.isChoosable(server)) return server;
  if ((flags & SCHEDULER_FLAG_FALLBACK) === 0) return 0;
  for (let offset = 0; offset < MAGLEV_SLOTS; offset++) {
    const again = (offset + slot) % MAGLEV_SLOTS;
    const other = slots[table + maglevSlot((client + again) | 0)]!;
    if (other === 0) return 0;
    if (realServers.isChoosable(other)) return other;
  }
  return 0;
}

/** Slot of a client: its folded address, plus its port, plus the offset of a retry. */
export function maglevSlot(client: number): number {
  return (sipHash13(KEY_1, client) >>> 0) % MAGLEV_SLOTS;
}

/** Places in the list of servers, from 1; 0 where there is none. At most MAGLEV_SLOTS servers. */
export function populateMaglev(servers: readonly ServerShare[]): Uint16Array {
  const places = new Uint16Array(MAGLEV_SLOTS);
  const turns = turnsOf(servers);
  if (turns.every((turn) => turn === 0)) return places;
  const next = new Int32Array(servers.length);
  const skip = new Int32Array(servers.length);
  servers.forEach(({ address, port }, at) => {
    const key = (foldAddress(address) + port) | 0;
    next[at] = (sipHash13(KEY_1, key) >>> 0) % MAGLEV_SLOTS;
    skip[at] = ((sipHash13(KEY_2, key) >>> 0) % (MAGLEV_SLOTS - 1)) + 1;
  });
  let filled = 0;
  while (filled < MAGLEV_SLOTS) {
    for (let at = 0; at < servers.length; at++) {
      const end = Math.min(filled + turns[at]!, MAGLEV_SLOTS);
      for (; filled < end; filled++) {
        let slot = next[at]!;
        while (places[slot] !== 0) {
          slot += skip[at]!;
          if (slot >= MAGLEV_SLOTS) slot -= MAGLEV_SLOTS;
        }
        places[slot] = at + 1;
        next[at] = slot;
      }
    }
  }
  return places;
}

/** Slots each server takes at a time. */
function turnsOf(servers: readonly ServerShare[]): number[] {
  let divisor = 0;
  let most = 0;
  for (const { lastWeight } of servers) {
    if (lastWeight > 0) divisor = greatestCommonDivisor(divisor, lastWeight);
    most = Math.max(most, lastWeight);
  }
  if (divisor === 0) return servers.map(() => 0);
  const bits = 32 - Math.clz32(most / divisor);
  const shift = Math.max(0, bits - TURN_BITS);
  return servers.map(({ lastWeight }) =>
    lastWeight === 0 ? 0 : Math.max(1, (lastWeight / divisor) >>> shift),
  );
}
