/**
 * Builds the Maglev tables of a configuration with many mh services in the pool's thread, before
 * the configuration is applied, so that applying it does not stall the main thread.
 */
import { join } from 'node:path';
import { addressWords } from '../net/address';
import { MAGLEV_SLOTS } from '../scheduler/mh';
import type { ServerShare } from '../scheduler/tables';
import type { RealServerTable } from '../table/realServer';
import { type ServerSpec, type ServiceSpec, serverId, type VirtualService } from './model';
import type { Pool } from './pool';

/** Fewer are built when they are applied: starting a thread takes longer. */
export const POOLED_TABLES_MIN = 64;
const THREAD = join(__dirname, 'maglevPoolThread.js');

/** Words of a server in a task: four of its address, port, last weight. */
const SERVER_WORDS = 6;

/** One service after the other, flat: few objects are quick to hand to a thread. */
export interface MaglevTask {
  /** Servers of each service. */
  readonly counts: Int32Array;
  readonly words: Int32Array;
}
/** Tables of MAGLEV_SLOTS, one after the other. */
export type MaglevTables = Uint16Array;

/** The tables of services with these servers, in the same order. */
export async function buildMaglevTables(
  pool: Pool,
  services: readonly (readonly ServerShare[])[],
): Promise<Uint16Array[]> {
  const tables = await pool.run<MaglevTask, MaglevTables>(THREAD, packTask(services));
  return services.map((_servers, at) =>
    tables.subarray(at * MAGLEV_SLOTS, (at + 1) * MAGLEV_SLOTS),
  );
}

function packTask(services: readonly (readonly ServerShare[])[]): MaglevTask {
  const counts = Int32Array.from(services, (servers) => servers.length);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const words = new Int32Array(total * SERVER_WORDS);
  let at = 0;
  for (const servers of services) {
    for (const { address, port, lastWeight } of servers) {
      words.set(address, at);
      words[at + 4] = port;
      words[at + 5] = lastWeight;
      at += SERVER_WORDS;
    }
  }
  return { counts, words };
}

export function unpackTask({ counts, words }: MaglevTask): ServerShare[][] {
  let at = 0;
  return Array.from(counts, (count) =>
    Array.from({ length: count }, () => {
      const address = words.subarray(at, at + 4);
      const lastWeight = words[at + 5]!;
      const share = { address, port: words[at + 4]!, weight: lastWeight, lastWeight };
      at += SERVER_WORDS;
      return share;
    }),
  );
}

/** A service's servers in list order, as they will be once it is what `spec` says. */
export function sharesAfter(
  current: VirtualService | undefined,
  spec: ServiceSpec,
  realServers: RealServerTable,
): ServerShare[] {
  const wanted = new Map(spec.servers.map((server) => [serverId(server.server), server]));
  const shares: ServerShare[] = [];
  const known = new Set<string>();
  for (const { key, slot } of current?.servers ?? []) {
    const kept = wanted.get(serverId(key));
    if (kept === undefined) continue;
    known.add(serverId(key));
    shares.push(shareOf(kept, kept.settings.weight || realServers.lastWeight(slot)));
  }
  for (const server of spec.servers) {
    if (!known.has(serverId(server.server))) {
      shares.unshift(shareOf(server, server.settings.weight));
    }
  }
  return shares;
}

function shareOf({ server, settings }: ServerSpec, lastWeight: number): ServerShare {
  const address = addressWords(server.address);
  return { address, port: server.port, weight: settings.weight, lastWeight };
}
