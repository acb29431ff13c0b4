/**
 * Who takes part in a bench on the wire. Each is started afresh for every round, on the contender's
 * CPU, and stopped after it, so that none leaves a hook, a program or a warm cache behind for the
 * next.
 */
import type { Child } from '../support/child';
import type { Candidate } from '../support/install';
import type { WireLab } from './lab';
import { ADDRESSES, type Family, type Method } from './settings';

/** As the generator sends it. */
export const TTL = 64;

export interface Running {
  /** User-space processes of the contender; kernel contenders have none. */
  readonly pids: readonly number[];
  /** Throws when it ended by itself. Returns what it counted, for the log. */
  stop(): Promise<string>;
}

/** What the real server must get: other frames do not count. */
export interface Expected {
  readonly source: string;
  readonly sourcePrefix: number;
  readonly destination: string;
  readonly ttl: number;
  /** Destination of the outer header; "-" = none. */
  readonly outer: string;
}

export interface Contender extends Candidate {
  readonly family: Family;
  /** How it waits for frames; "kernel" where nothing of it runs in user space. */
  readonly mode: string;
  readonly expected: Expected;
  start(lab: WireLab): Promise<Running>;
}

export async function stopChild(child: Child): Promise<void> {
  if (child.isOver)
    throw new Error(`${child.name} ended by itself: ${child.errors || 'no message'}`);
  await child.stop();
}

export function expectedOf(method: Method, family: Family): Expected {
  const { flows, flowsPrefix, virtual, server, local, localPrefix } = ADDRESSES[family];
  const isFullnat = method === 'fullnat';
  const keepsDestination = method === 'dr' || method === 'tunnel';
  return {
    source: isFullnat ? local[0]! : flows,
    sourcePrefix: isFullnat ? localPrefix : flowsPrefix,
    destination: keepsDestination ? virtual : server,
    ttl: TTL - 1,
    outer: method === 'tunnel' ? server : '-',
  };
}

/** Of those that change nothing but the MAC addresses. */
export const UNTOUCHED: Expected = { ...expectedOf('dr', 4), ttl: TTL };
