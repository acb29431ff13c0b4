/** Opens objects and lets go of them without close(); run with --expose-gc. */
import { addon } from '#xvs/port/addon';
import { makeMemory, openQueue } from './support';

declare const gc: () => void;

function sum(): number {
  return Object.values(addon.openHandles()).reduce((total, count) => total + count, 0);
}

function forget(interfaceName: string): number {
  for (let round = 0; round < 10; round++) {
    const memory = makeMemory(64);
    addon.createPoller([addon.createEvent().fd], memory.umem);
    addon.openNetlink(0, []);
    if (round === 0) {
      openQueue(memory, interfaceName, 0, 64);
      addon.loadProgram();
    }
  }
  return sum();
}

async function main(): Promise<void> {
  const held = forget(process.argv[2]!);
  for (let round = 0; round < 20 && sum() > 0; round++) {
    gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  process.stdout.write(JSON.stringify({ held, left: sum() }));
}

main();
