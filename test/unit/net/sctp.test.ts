/** CRC32c against its published values and against the bitwise definition. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sctpChecksum, sctpCrc, setSctpChecksum } from '#xvs/net/sctp';
import { crc32c, sctp, sctpChecksumIs } from '../../support/sctp';

/** The checksum of bytes in front of which a common header of SCTP would stand. */
const crcOf = (bytes: Uint8Array): number => sctpCrc(new DataView(bytes.buffer), 0, bytes.length);

test('32 bytes of zero, as RFC 3720 B.4 has them', () => {
  const bytes = new Uint8Array(32);
  assert.equal(crcOf(bytes) >>> 0, 0x8a9136aa);
});

test('any packet of any length, wherever it lies', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 12, maxLength: 200, size: 'max' }),
      fc.nat({ max: 7 }),
      (bytes, before) => {
        const view = new DataView(new ArrayBuffer(before + bytes.length));
        new Uint8Array(view.buffer).set(bytes, before);
        setSctpChecksum(view, before, sctpCrc(view, before, bytes.length));
        const packet = new Uint8Array(view.buffer, before);
        assert.equal(sctpChecksumIs(packet), 'correct');
        assert.equal(
          Buffer.from(crc32c(bytes)).readInt32LE(),
          sctpChecksum(view, before),
          'the field itself does not count',
        );
      },
    ),
  );
});

test('the builder’s own packets', () => {
  assert.equal(sctpChecksumIs(sctp()), 'correct');
  assert.equal(sctpChecksumIs(sctp({ checksum: 'wrong' })), 'wrong');
  assert.equal(sctpChecksumIs(sctp({ checksum: 'unfinished' })), 'unfinished');
});
