/** Drives control/defense.ts: each second, and in pieces between which the daemon does the rest. */
import { Defense } from '../control/defense';
import type { Director } from '../control/director';
import { DefenseWatch } from '../control/log/defenseWatch';
import { log } from './log';

const INTERVAL_MS = 1000;
/** Between two pieces, and while a worker works off its mailbox. */
const PAUSE_MS = 0;
const STALL_MS = 20;

/** `now`: the tick. Returns what stops it. */
export function defend(director: Director, now: () => number): () => void {
  const defense = new Defense(director);
  let piece: NodeJS.Timeout | undefined;
  const walk = (): void => {
    const more = defense.walk(now());
    piece = more ? setTimeout(walk, defense.isStalled ? STALL_MS : PAUSE_MS) : undefined;
  };
  const watch = new DefenseWatch(director, log);
  const timer = setInterval(() => {
    defense.second();
    watch.look();
    if (piece === undefined) walk();
  }, INTERVAL_MS);
  return () => {
    clearInterval(timer);
    clearTimeout(piece);
  };
}
