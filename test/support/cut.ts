/**
 * Cuts a packet into fragments as a sender does (RFC 791 3.2, RFC 8200 4.5), for tests to send:
 * reassemble.ts is its inverse. The product's own code for this is not used.
 */
import { internetChecksum } from './packet';

const ETHERNET_BYTES = 14;
const IPV6_BYTES = 40;

/** Fragments of `frame`, in order, with `dataBytes` of data each, a multiple of eight. */
export function cut(frame: Uint8Array, dataBytes: number, id = 0x4242): Uint8Array[] {
  if (dataBytes % 8 !== 0) throw new RangeError(`${dataBytes} bytes: no multiple of eight`);
  const isIpv4 = new DataView(frame.buffer, frame.byteOffset).getUint16(12) === 0x0800;
  const ipBytes = isIpv4 ? (frame[ETHERNET_BYTES]! & 15) * 4 : IPV6_BYTES;
  const headers = frame.subarray(0, ETHERNET_BYTES + ipBytes);
  const data = frame.subarray(headers.length);
  const pieces: Uint8Array[] = [];
  for (let from = 0; from < data.length; from += dataBytes) {
    const part = data.subarray(from, from + dataBytes);
    const more = from + dataBytes < data.length;
    pieces.push(
      isIpv4 ? piece4(headers, part, from, more, id) : piece6(headers, part, from, more, id),
    );
  }
  return pieces;
}

function piece4(
  headers: Uint8Array,
  data: Uint8Array,
  offset: number,
  more: boolean,
  id: number,
): Uint8Array {
  const piece = Uint8Array.from([...headers, ...data]);
  const view = new DataView(piece.buffer);
  view.setUint16(ETHERNET_BYTES + 2, piece.length - ETHERNET_BYTES);
  view.setUint16(ETHERNET_BYTES + 4, id);
  view.setUint16(ETHERNET_BYTES + 6, (offset >> 3) | (more ? 0x2000 : 0));
  view.setUint16(ETHERNET_BYTES + 10, 0);
  view.setUint16(
    ETHERNET_BYTES + 10,
    internetChecksum(piece.subarray(ETHERNET_BYTES, headers.length)),
  );
  return piece;
}

function piece6(
  headers: Uint8Array,
  data: Uint8Array,
  offset: number,
  more: boolean,
  id: number,
): Uint8Array {
  const piece = Uint8Array.from([...headers, ...new Uint8Array(8), ...data]);
  const view = new DataView(piece.buffer);
  view.setUint16(ETHERNET_BYTES + 4, 8 + data.length);
  piece[ETHERNET_BYTES + 6] = 44;
  piece[headers.length] = headers[ETHERNET_BYTES + 6]!;
  view.setUint16(headers.length + 2, offset | (more ? 1 : 0));
  view.setUint32(headers.length + 4, id);
  return piece;
}
