/**
 * A process that says what one connection takes of memory, of all that is allocated for a table of
 * some capacity: by the sizes of its buffers, and by how much the process grew when the table was
 * filled to the last entry. NAT over IPv4: two slots in the index, no extension.
 */
import { readFileSync } from 'node:fs';
import { createMemory } from '#xvs/table/memory';
import { collectGarbage } from '#xvs/worker/engine';
import { makeRow } from '../pipeline/row';
import { answerWith } from '../support/askedProcess';
import { lackOfMemory } from '../support/freeMemory';
import type { Result } from '../support/report';
import { Churn } from './churn';

const HASH_SEED = 0x5eed1234;
/** Of a table that is filled before, for the code's sake. */
const CAPACITY_BEFORE = 262_144;
/** Upper bound of what a connection takes, for the question whether it fits. */
const BYTES_MAX = 128;

/** Memory of this process that is in use now, shared or not (proc_pid_status(5)). */
function residentBytes(): number {
  const [, kilobytes = '0'] =
    /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

export interface MemoryCommand {
  readonly capacity: number;
}

export interface MemoryMeasured {
  readonly results: readonly Result[];
  readonly byLayout: number;
  readonly resident: number;
}

/** To be called once in a process. Throws when there is too little memory. */
function measureMemory(capacity: number): MemoryMeasured {
  const lack = lackOfMemory(`a table of ${capacity} connections`, capacity * BYTES_MAX);
  if (lack !== null) throw new Error(lack);
  const memory = createMemory({ workers: 1, connectionCapacity: capacity, hashSeed: HASH_SEED });
  const { entries, index, born, control } = memory.connections;
  const buffers = { entries, index, born, control };
  const results: Result[] = [];
  let bytes = 0;
  const add = (name: string, part: string, value: number) =>
    results.push({
      name,
      parameters: { capacity, part },
      unit: 'bytes/connection',
      min: value,
      median: value,
      max: value,
    });
  for (const [part, { byteLength }] of Object.entries(buffers)) {
    bytes += byteLength;
    add('layout', part, byteLength / capacity);
  }
  // The clients' ports and the scheduler's state make no difference: one table, all connections.
  const options = { row: makeRow('nat', 4, 'udp', 1), scheduler: 'rr', servers: 8, live: 0 };
  // V8 has compiled all it will when the table is filled. Kept to the end: not to be counted as
  // memory that became free.
  const small = { workers: 1, connectionCapacity: CAPACITY_BEFORE, hashSeed: HASH_SEED };
  const rehearsal = new Churn(createMemory(small), 0, options);
  rehearsal.fillUp();
  const churn = new Churn(memory, 0, options);
  collectGarbage();
  const before = residentBytes();
  const free = churn.tables.connections.freeCount;
  const made = churn.fillUp();
  collectGarbage();
  const grown = residentBytes() - before;
  if (rehearsal.created === 0) throw new Error('the rehearsal made no connection');
  if (made < free * 0.999) throw new Error(`only ${made} of ${free} connections could be made`);
  const [byLayout, resident] = [bytes / capacity, grown / made];
  add('layout', 'all', byLayout);
  add('resident', 'all', resident);
  return { results, byLayout, resident };
}

answerWith(({ capacity }: MemoryCommand) => measureMemory(capacity));
