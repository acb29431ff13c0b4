/** The pool's side of maglevPool.ts. */
import { move } from 'piscina';
import { MAGLEV_SLOTS, populateMaglev } from '../scheduler/mh';
import { type MaglevTask, unpackTask } from './maglevPool';

export default function build(task: MaglevTask): unknown {
  const services = unpackTask(task);
  const tables = new Uint16Array(services.length * MAGLEV_SLOTS);
  services.forEach((servers, at) => {
    tables.set(populateMaglev(servers), at * MAGLEV_SLOTS);
  });
  return move(tables);
}
