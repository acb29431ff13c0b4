/**
 * A large file of random bytes, for transfers that are compared by their hash.
 */
import { createHash, randomFillSync } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';

export const RANDOM_FILE_BYTES = 200 * 1024 * 1024;
const BLOCK_BYTES = 4 * 1024 * 1024;

/** Writes RANDOM_FILE_BYTES random bytes and returns their SHA-256 in hex. */
export function writeRandomFile(path: string): string {
  const hash = createHash('sha256');
  const block = Buffer.alloc(BLOCK_BYTES);
  const file = openSync(path, 'w');
  for (let written = 0; written < RANDOM_FILE_BYTES; written += BLOCK_BYTES) {
    randomFillSync(block);
    hash.update(block);
    writeSync(file, block);
  }
  closeSync(file);
  return hash.digest('hex');
}
