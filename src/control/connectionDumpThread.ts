/** The pool's side of connectionDump.ts. */
import { move } from 'piscina';
import { ConnectionTable } from '../table/connection';
import { RealServerTable } from '../table/realServer';
import type { DumpTask } from './connectionDump';
import { selectConnections } from './connectionSelect';

export default function dump({ connections, realServers, tick, query }: DumpTask): unknown {
  // The seed is for hashing alone; a listing reads entries one after another.
  const table = new ConnectionTable(connections, 0);
  return move(selectConnections(table, tick, query, new RealServerTable(realServers)));
}
