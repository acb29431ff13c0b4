/** The pool's side of connectionDump.ts. */
import { move } from 'piscina';
import { ConnectionTable } from '../table/connection';
import { RealServerTable } from '../table/realServer';
import type { DumpTask } from './connectionDump';
import { chooseConnections, countConnections, writeConnections } from './connectionSelect';

export default function dump(task: DumpTask): unknown {
  const { tick, query, chosen } = task;
  // The seed is for hashing alone; a listing reads entries one after another.
  const table = new ConnectionTable(task.connections, 0);
  const servers = new RealServerTable(task.realServers);
  if (query.count !== undefined) return move(countConnections(table, tick, query, servers));
  if (chosen === null) return move(chooseConnections(table, tick, query, servers));
  return move(writeConnections(table, tick, query, chosen, servers));
}
