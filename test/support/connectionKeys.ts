/** The connections that worker threads of a test quarrel about, by number; of both families. */
import type { ConnectionKey } from './connections';

export const keyOf = (number: number): ConnectionKey => ({
  family: number % 3 === 0 ? 4 : 6,
  protocol: 6,
  client: 0x0a000000 + (number & 0x3f),
  virtual: 0x0b000001,
  ports: ((1024 + (number >> 6)) << 16) | 80,
});

/** Words of a worker's results: see ConnectionWorkerData. */
export const RESULT_WORDS = 8;
