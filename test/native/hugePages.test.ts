/** Huge pages for large tables: what the kernel notes of a mapping after it was asked. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { addon } from '#xvs/port/addon';

const MEGABYTE = 1 << 20;
/** A kernel without transparent huge pages does not have it. */
const SETTING = '/sys/kernel/mm/transparent_hugepage/enabled';
const skip = existsSync(SETTING) ? false : 'kernel lacks transparent huge pages';

/** Mappings with the flag "hg" (Documentation/filesystems/proc.rst). */
function advisedMappings(): number {
  const flags = readFileSync('/proc/self/smaps', 'latin1').match(/^VmFlags:.*$/gm) ?? [];
  return flags.filter((line) => / hg\b/.test(line)).length;
}

test('a large buffer gets huge pages, and a small one has no room for them', { skip }, () => {
  const before = advisedMappings();
  const large = new SharedArrayBuffer(16 * MEGABYTE);
  assert.equal(addon.adviseHugePages(large), true);
  assert.ok(advisedMappings() > before);
  assert.equal(addon.adviseHugePages(new SharedArrayBuffer(MEGABYTE)), false);
  assert.equal(new Uint8Array(large).at(-1), 0);
});

test('what is no shared buffer is refused by name', () => {
  assert.throws(
    () => addon.adviseHugePages(new ArrayBuffer(8) as never),
    /adviseHugePages.*buffer/,
  );
});
