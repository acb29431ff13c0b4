/**
 * A FULLNAT connection's local port: taken and, of another connection, given back, while so many
 * of the 64,511 ports towards a server are taken, in no order.
 */
import { LOCAL_PORTS, LocalPortTable } from '#xvs/table/localPort';
import { FRAMES } from './frames';

const OWNER = 1;
const SEED = 7;

/** One port taken and one given back, FRAMES times in a call. */
export function atFullness(percent: number): () => number {
  const ports = new LocalPortTable(LocalPortTable.buffers(4), SEED);
  const words = Int32Array.from([0x0a000201, 0, 0, 0, 0x0a00020b, 0, 0, 0]);
  ports.setKey(words, 0, words, 4, 80, 6);
  const held = Int32Array.from({ length: LOCAL_PORTS }, () => ports.allocate(OWNER));
  let random = 1;
  const draw = (below: number): number => {
    random = (Math.imul(random, 1103515245) + 12345) | 0;
    return (random >>> 8) % below;
  };
  let count = LOCAL_PORTS;
  const keep = Math.max(1, Math.floor((LOCAL_PORTS * percent) / 100));
  const giveBack = (): void => {
    const at = draw(count);
    if (!ports.release(held[at]!)) throw new Error(`port ${held[at]} was not taken`);
    count--;
    held[at] = held[count]!;
  };
  while (count > keep) giveBack();
  return () => {
    for (let i = 0; i < FRAMES; i++) {
      giveBack();
      held[count] = ports.allocate(OWNER);
      count++;
    }
    return held[0]!;
  };
}
