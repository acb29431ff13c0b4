/** What a query of connections is answered with, in one text: the steps of the pool's thread. */
import {
  chooseConnections,
  countConnections,
  writeConnections,
} from '#xvs/control/connectionSelect';
import type { ConnectionQuery } from '#xvs/control/protocol';
import type { ConnectionTable } from '#xvs/table/connection';
import type { RealServerTable } from '#xvs/table/realServer';

export function selectConnections(
  table: ConnectionTable,
  tick: number,
  query: ConnectionQuery,
  servers: RealServerTable | null = null,
): string {
  if (query.count !== undefined) {
    return Buffer.from(countConnections(table, tick, query, servers)).toString();
  }
  const chosen = chooseConnections(table, tick, query, servers);
  const limit = query.limit || chosen.length;
  const rows = writeConnections(table, tick, query, chosen.subarray(0, limit), servers);
  return `{"total":${chosen.length},"connections":[${Buffer.from(rows).toString()}]}`;
}
