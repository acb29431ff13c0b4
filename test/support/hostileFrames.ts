/** Frames of every kind, whole and damaged, both families: what parsers are tried with. */
import fc from 'fast-check';
import { ethernet, internetChecksum } from './packet';

const bytes = (maxLength: number) => fc.uint8Array({ maxLength, size: 'max' });

/** Hop-by-hop, routing, fragment, destination options, AH; each with the next one's number. */
function extensionHeaders(kinds: readonly number[], protocol: number): Uint8Array {
  const all: number[] = [];
  for (const [at, kind] of kinds.entries()) {
    const header = new Uint8Array(kind === 51 ? 12 : 8);
    header[0] = kinds[at + 1] ?? protocol;
    if (kind === 51) header[1] = 1;
    // Pad4: a sound option.
    if (kind === 0 || kind === 60) header.set([1, 4], 2);
    all.push(...header);
  }
  return Uint8Array.from(all);
}

export const wholeIpv4 = fc
  .record({
    kind: fc.constantFrom('tcp' as const, 'udp' as const, 'icmp' as const, 'other' as const),
    payload: bytes(60),
    options: fc.constantFrom(0, 4, 40),
    tcpOptions: fc.constantFrom(0, 12, 40),
    fragment: fc.constantFrom(0, 0, 0, 0x4000, 0x2000, 0x1),
    protocol: fc.constantFrom(132, 50, 51, 47, 4),
    type: fc.constantFrom(3, 4, 11, 8, 0),
    pad: fc.nat({ max: 8 }),
  })
  .map(({ kind, payload, options, tcpOptions, fragment, protocol, type, pad }) => {
    const header = { options: new Uint8Array(options), fragment };
    const start = ethernet().ipv4(kind === 'other' ? { ...header, protocol } : header);
    if (kind === 'tcp') start.tcp({ options: new Uint8Array(tcpOptions) });
    else if (kind === 'udp') start.udp();
    else if (kind === 'icmp') start.icmp({ type });
    return start.payload(payload).pad(pad).build();
  });

const EXTENSION_KINDS = [0, 43, 44, 60, 51] as const;
export const wholeIpv6 = fc
  .record({
    kind: fc.constantFrom('tcp' as const, 'udp' as const, 'icmp6' as const, 'other' as const),
    payload: bytes(60),
    extensions: fc.array(fc.constantFrom(...EXTENSION_KINDS), { maxLength: 4 }),
    protocol: fc.constantFrom(132, 50, 59, 41, 4),
    type: fc.constantFrom(1, 2, 3, 4, 128, 135),
    offsetFlags: fc.constantFrom(0, 0, 1, 8, 9),
    pad: fc.nat({ max: 8 }),
  })
  .map(({ kind, payload, extensions: kinds, protocol, type, offsetFlags, pad }) => {
    const last = { tcp: 6, udp: 17, icmp6: 58, other: protocol }[kind];
    const extensions = extensionHeaders(kinds, last);
    let at = 0;
    for (const header of kinds) {
      if (header === 44) extensions[at + 3] = offsetFlags;
      at += header === 51 ? 12 : 8;
    }
    const start = ethernet().ipv6({ extensions, nextHeader: kinds[0] ?? last, protocol: last });
    if (kind === 'tcp') start.tcp();
    else if (kind === 'udp') start.udp();
    else if (kind === 'icmp6') start.icmp6({ type });
    return start.payload(payload).pad(pad).build();
  });

/** Bytes of a whole frame changed, its end cut off, the IPv4 header's checksum made right again. */
export const damagedFrame = fc
  .record({
    frame: fc.oneof(wholeIpv4, wholeIpv6),
    damage: fc.array(fc.tuple(fc.integer({ min: 12, max: 100 }), fc.nat({ max: 255 })), {
      maxLength: 4,
      size: 'max',
    }),
    cut: fc.oneof(fc.constant(0), fc.nat({ max: 60 })),
  })
  .map(({ frame, damage, cut }) => {
    for (const [at, value] of damage) if (at < frame.length) frame[at] = value;
    const headerEnd = 14 + (frame[14]! & 15) * 4;
    if (frame[14]! >> 4 === 4 && headerEnd >= 34 && headerEnd <= frame.length) {
      frame.fill(0, 24, 26);
      new DataView(frame.buffer).setUint16(24, internetChecksum(frame.subarray(14, headerEnd)));
    }
    return frame.subarray(0, Math.max(0, frame.length - cut));
  });

/** Anything at all. */
export const anyFrame = fc.oneof(
  { weight: 1, arbitrary: bytes(200) },
  { weight: 2, arbitrary: wholeIpv4 },
  { weight: 2, arbitrary: wholeIpv6 },
  { weight: 4, arbitrary: damagedFrame },
);
