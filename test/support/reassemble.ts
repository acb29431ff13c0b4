/**
 * Puts fragments together as a receiver does, from the definition (RFC 791 3.2, RFC 8200 4.5): the
 * product has no such code. Frames that are no fragments stay as they are. Throws where the parts
 * of a datagram overlap, leave a gap, or disagree.
 */
import assert from 'node:assert/strict';
import { internetChecksum } from './packet';

const ETHERNET_BYTES = 14;
const IPV6_BYTES = 40;
const FRAGMENT6_BYTES = 8;

interface Part {
  readonly key: string;
  /** Ethernet and IP headers, as the whole packet would have them, but for the length. */
  readonly headers: Uint8Array;
  readonly offset: number;
  readonly more: boolean;
  readonly data: Uint8Array;
}

/** The packets that `frames` are or were cut from, in the order in which they were first seen. */
export function reassemble(frames: readonly Uint8Array[]): Uint8Array[] {
  const packets = new Map<string, Part[]>();
  frames.forEach((frame, number) => {
    const part = partOf(frame);
    const key = part?.key ?? `whole ${number}`;
    const whole = { key, headers: frame, offset: 0, more: false, data: new Uint8Array() };
    packets.set(key, [...(packets.get(key) ?? []), part ?? whole]);
  });
  return [...packets.values()].map(join);
}

function partOf(frame: Uint8Array): Part | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const type = view.getUint16(12);
  if (type === 0x0800) return partOf4(frame, view);
  if (type === 0x86dd && frame[ETHERNET_BYTES + 6] === 44) return partOf6(frame, view);
  return undefined;
}

function partOf4(frame: Uint8Array, view: DataView): Part | undefined {
  const word = view.getUint16(ETHERNET_BYTES + 6);
  if ((word & 0x3fff) === 0) return undefined;
  const end = ETHERNET_BYTES + (frame[ETHERNET_BYTES]! & 15) * 4;
  assert.equal(internetChecksum(frame.subarray(ETHERNET_BYTES, end)), 0, 'header checksum');
  const key = `4 ${view.getUint16(18)} ${frame[23]} ${frame.subarray(26, 34).join('.')}`;
  const headers = Uint8Array.from(frame.subarray(0, end));
  new DataView(headers.buffer).setUint16(ETHERNET_BYTES + 6, 0);
  const total = view.getUint16(ETHERNET_BYTES + 2);
  const data = frame.subarray(end, ETHERNET_BYTES + total);
  return { key, headers, offset: (word & 0x1fff) * 8, more: (word & 0x2000) !== 0, data };
}

function partOf6(frame: Uint8Array, view: DataView): Part {
  const header = ETHERNET_BYTES + IPV6_BYTES;
  const word = view.getUint16(header + 2);
  const key = `6 ${view.getUint32(header + 4)} ${frame.subarray(22, 54).join('.')}`;
  const headers = Uint8Array.from(frame.subarray(0, header));
  headers[ETHERNET_BYTES + 6] = frame[header]!;
  const end = header + view.getUint16(ETHERNET_BYTES + 4);
  const data = frame.subarray(header + FRAGMENT6_BYTES, end);
  return { key, headers, offset: word & 0xfff8, more: (word & 1) !== 0, data };
}

function join(parts: Part[]): Uint8Array {
  const sorted = [...parts].sort((one, other) => one.offset - other.offset);
  let end = 0;
  sorted.forEach(({ key, offset, more, data }, number) => {
    assert.equal(offset, end, `packet ${key}: a part at ${offset}, the ones before end at ${end}`);
    const isLast = number === sorted.length - 1;
    assert.equal(more, !isLast, `packet ${key}: "more" in part ${number} of ${sorted.length}`);
    assert.ok(isLast || data.length % 8 === 0, `packet ${key}: ${data.length} bytes in a part`);
    end += data.length;
  });
  const { headers } = sorted[0]!;
  const whole = Uint8Array.from([...headers, ...sorted.flatMap(({ data }) => [...data])]);
  if (parts.length > 1 || end > 0) setLength(whole, headers.length, end);
  return whole;
}

function setLength(whole: Uint8Array, headersEnd: number, dataBytes: number): void {
  const view = new DataView(whole.buffer);
  if (view.getUint16(12) === 0x86dd) {
    view.setUint16(ETHERNET_BYTES + 4, dataBytes);
    return;
  }
  view.setUint16(ETHERNET_BYTES + 2, headersEnd - ETHERNET_BYTES + dataBytes);
  view.setUint16(ETHERNET_BYTES + 10, 0);
  const header = whole.subarray(ETHERNET_BYTES, headersEnd);
  view.setUint16(ETHERNET_BYTES + 10, internetChecksum(header));
}
