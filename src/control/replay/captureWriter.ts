/**
 * Writes captures, little-endian with nanoseconds: classic pcap, which knows no interfaces, or
 * pcapng (see captureFile.ts for both formats). The same packets give the same bytes.
 */

export interface WrittenPacket {
  readonly nanoseconds: bigint;
  /** Index in the interfaces. */
  readonly interface: number;
  readonly frame: Uint8Array;
}

const SECOND = 1_000_000_000n;
const PCAP_NANOSECONDS = 0xa1b23c4d;
const LINK_ETHERNET = 1;
const SNAP_BYTES = 262144;

function littleEndian(size: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  write(new DataView(bytes.buffer));
  return bytes;
}

export function formatPcap(packets: readonly WrittenPacket[]): Uint8Array {
  const head = littleEndian(24, (view) => {
    view.setUint32(0, PCAP_NANOSECONDS, true);
    view.setUint16(4, 2, true);
    view.setUint16(6, 4, true);
    view.setUint32(16, SNAP_BYTES, true);
    view.setUint32(20, LINK_ETHERNET, true);
  });
  const records = packets.flatMap(({ nanoseconds, frame }) => [
    littleEndian(16, (view) => {
      view.setUint32(0, Number(nanoseconds / SECOND), true);
      view.setUint32(4, Number(nanoseconds % SECOND), true);
      view.setUint32(8, frame.length, true);
      view.setUint32(12, frame.length, true);
    }),
    frame,
  ]);
  return Buffer.concat([head, ...records]);
}

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
const OPTION_NAME = 2;
const OPTION_RESOLUTION = 9;
const NANOSECONDS = 9;

const padded = (length: number): number => Math.ceil(length / 4) * 4;

/** Type, length, body, length again. */
function block(type: number, body: Uint8Array): Uint8Array {
  const length = padded(body.length) + 12;
  return littleEndian(length, (view) => {
    view.setUint32(0, type, true);
    view.setUint32(4, length, true);
    new Uint8Array(view.buffer).set(body, 8);
    view.setUint32(length - 4, length, true);
  });
}

function option(code: number, value: Uint8Array): Uint8Array {
  return littleEndian(4 + padded(value.length), (view) => {
    view.setUint16(0, code, true);
    view.setUint16(2, value.length, true);
    new Uint8Array(view.buffer).set(value, 4);
  });
}

function interfaceBlock(name: string): Uint8Array {
  const head = littleEndian(8, (view) => {
    view.setUint16(0, LINK_ETHERNET, true);
    view.setUint32(4, SNAP_BYTES, true);
  });
  const end = new Uint8Array(4);
  const resolution = option(OPTION_RESOLUTION, Uint8Array.of(NANOSECONDS));
  const body = [head, option(OPTION_NAME, Buffer.from(name)), resolution, end];
  return block(INTERFACE_DESCRIPTION, Buffer.concat(body));
}

function packetBlock({ nanoseconds, interface: from, frame }: WrittenPacket): Uint8Array {
  const head = littleEndian(20, (view) => {
    view.setUint32(0, from, true);
    view.setUint32(4, Number(nanoseconds >> 32n), true);
    view.setUint32(8, Number(nanoseconds & 0xffffffffn), true);
    view.setUint32(12, frame.length, true);
    view.setUint32(16, frame.length, true);
  });
  return block(ENHANCED_PACKET, Buffer.concat([head, frame]));
}

/** `interfaces`: their names. */
export function formatPcapng(
  interfaces: readonly string[],
  packets: readonly WrittenPacket[],
): Uint8Array {
  const section = littleEndian(16, (view) => {
    view.setUint32(0, BYTE_ORDER, true);
    view.setUint16(4, 1, true);
    // Its length is not said.
    view.setBigInt64(8, -1n, true);
  });
  return Buffer.concat([
    block(SECTION_HEADER, section),
    ...interfaces.map(interfaceBlock),
    ...packets.map(packetBlock),
  ]);
}
