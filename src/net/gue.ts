/**
 * Generic UDP encapsulation, version 0, data messages (draft-ietf-intarea-gue): what stands between
 * the UDP header and the packet. `at`: offset of the header's first byte.
 *
 *   version (2), control (1), words of options (5) | protocol of the packet | flags (16)
 *   options: private flags (32) | remote checksum offload: start (16), place (16)
 *
 * Remote checksum offload (draft-herbert-remotecsumoffload): the sender left the packet's own
 * checksum unfinished; the receiver is told where its sum begins and where to put it.
 */
import { record } from '../layout/record';

export const GUE = record('gue', 4, { versionWords: 'u8', protocol: 'u8', flags: 'u16' });
export const GUE_BYTES = 4;
/** Private flags, start and place. */
export const GUE_REMOTE_CHECKSUM_BYTES = 8;
/** Flag: an option with private flags follows. */
export const GUE_PRIVATE = 0x0001;
/** Private flag: start and place follow. */
export const GUE_REMOTE_CHECKSUM = 0x80000000 | 0;

const OPTION_WORDS = GUE_REMOTE_CHECKSUM_BYTES >> 2;
const PRIVATE_FLAGS_AT = GUE.size;
const START_AT = PRIVATE_FLAGS_AT + 4;

/** `protocol`: IP's number of the packet behind it, 4 or 41. */
export function writeGue(view: DataView, at: number, protocol: number): void {
  view.setInt32(at, protocol << 16);
}

/** As writeGue; `start` and `place` count bytes from the packet's first. */
export function writeGueWithRemoteChecksum(
  view: DataView,
  at: number,
  protocol: number,
  start: number,
  place: number,
): void {
  view.setInt32(at, (OPTION_WORDS << 24) | (protocol << 16) | GUE_PRIVATE);
  view.setInt32(at + PRIVATE_FLAGS_AT, GUE_REMOTE_CHECKSUM);
  view.setInt32(at + START_AT, (start << 16) | place);
}

const OPTION_WORDS_BITS = 0x1f;

/** Of a whole header, options included: 4 to 128 bytes. */
export function gueHeaderBytes(view: DataView, at: number): number {
  return GUE.size + ((view.getUint8(at) & OPTION_WORDS_BITS) << 2);
}
/** IP's number of the packet behind it; 0 when it is no data message of version 0. */
export function gueProtocol(view: DataView, at: number): number {
  return view.getUint8(at) <= OPTION_WORDS_BITS ? view.getUint8(at + GUE.at.protocol) : 0;
}
