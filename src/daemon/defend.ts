/** Drives control/defense.ts: each second, and in pieces between which the daemon does the rest. */
import { Defense } from '../control/defense';
import type { Director } from '../control/director';

const INTERVAL_MS = 1000;

/** `now`: the tick. Returns what stops it. */
export function defend(director: Director, now: () => number): () => void {
  const defense = new Defense(director);
  let piece: NodeJS.Immediate | undefined;
  const walk = (): void => {
    piece = defense.walk(now()) ? setImmediate(walk) : undefined;
  };
  const timer = setInterval(() => {
    defense.second(now());
    if (piece === undefined) walk();
  }, INTERVAL_MS);
  return () => {
    clearInterval(timer);
    clearImmediate(piece);
  };
}
