/** The pool's side of connectionDump.ts. */
import { move } from 'piscina';
import { ConnectionTable } from '../table/connection';
import type { DumpTask } from './connectionDump';
import { selectConnections } from './connectionSelect';

export default function dump({ connections, tick, query }: DumpTask): unknown {
  // The seed is for hashing alone; a listing reads entries one after another.
  return move(selectConnections(new ConnectionTable(connections, 0), tick, query));
}
