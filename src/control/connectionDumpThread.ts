/** The pool's side of connectionDump.ts. */
import { move } from 'piscina';
import { ConnectionTable } from '../table/connection';
import type { DumpTask } from './connectionDump';
import { listConnections } from './listing';

export default function dump({ connections, tick }: DumpTask): unknown {
  // The seed is for hashing alone; a listing reads entries one after another.
  const list = listConnections(new ConnectionTable(connections, 0), tick);
  return move(new TextEncoder().encode(JSON.stringify({ connections: list })));
}
