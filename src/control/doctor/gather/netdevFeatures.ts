/**
 * What the drivers of all interfaces can do of XDP, by the kernel's generic netlink family "netdev"
 * (Linux 6.3; Documentation/netlink/specs/netdev.yaml). Headers and numbers are in host byte order.
 */
import { endianness } from 'node:os';
import type { NetlinkAddon } from '../../netlinkSocket';

const NETLINK_GENERIC = 16;
const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
const NETDEV_CMD_DEV_GET = 1;
const NETDEV_A_DEV_IFINDEX = 1;
const NETDEV_A_DEV_XDP_FEATURES = 3;
const REQUEST = 1;
const REQUEST_DUMP = 0x301;
const HEADER_BYTES = 16;
const GENERIC_HEADER_BYTES = 4;
const ATTRIBUTE_BYTES = 4;
const ATTRIBUTE_TYPE_MASK = 0x3fff;
const RECEIVE_BYTES = 65536;
const DATAGRAMS_MAX = 1024;
const LITTLE = endianness() === 'LE';

interface GenericMessage {
  readonly type: number;
  readonly attributes: ReadonlyMap<number, DataView>;
}

function request(type: number, flags: number, command: number, name = ''): Uint8Array {
  const text = Buffer.from(`${name}\0`);
  const attribute = name === '' ? 0 : ATTRIBUTE_BYTES + ((text.length + 3) & ~3);
  const bytes = new Uint8Array(HEADER_BYTES + GENERIC_HEADER_BYTES + attribute);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, LITTLE);
  view.setUint16(4, type, LITTLE);
  view.setUint16(6, flags, LITTLE);
  bytes[HEADER_BYTES] = command;
  bytes[HEADER_BYTES + 1] = 1;
  if (name !== '') {
    const at = HEADER_BYTES + GENERIC_HEADER_BYTES;
    view.setUint16(at, ATTRIBUTE_BYTES + text.length, LITTLE);
    view.setUint16(at + 2, CTRL_ATTR_FAMILY_NAME, LITTLE);
    bytes.set(text, at + ATTRIBUTE_BYTES);
  }
  return bytes;
}

/** Messages of one datagram; a length that cannot be ends the reading. */
export function parseGeneric(bytes: Uint8Array): GenericMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: GenericMessage[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = view.getUint32(at, LITTLE);
    if (length < HEADER_BYTES || at + length > bytes.length) break;
    const attributes = new Map<number, DataView>();
    const end = at + length;
    for (let part = at + HEADER_BYTES + GENERIC_HEADER_BYTES; part + ATTRIBUTE_BYTES <= end; ) {
      const size = view.getUint16(part, LITTLE);
      if (size < ATTRIBUTE_BYTES || part + size > end) break;
      const type = view.getUint16(part + 2, LITTLE) & ATTRIBUTE_TYPE_MASK;
      const start = bytes.byteOffset + part + ATTRIBUTE_BYTES;
      attributes.set(type, new DataView(bytes.buffer, start, size - ATTRIBUTE_BYTES));
      part += (size + 3) & ~3;
    }
    messages.push({ type: view.getUint16(at + 4, LITTLE), attributes });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** Bits NETDEV_XDP_ACT_* by ifindex; empty on a kernel without the family. */
export function readXdpFeatures(addon: NetlinkAddon): ReadonlyMap<number, number> {
  const socket = addon.openNetlink(NETLINK_GENERIC, []);
  const buffer = new Uint8Array(RECEIVE_BYTES);
  // The kernel answers before send() returns; of a dump each receive() brings the next part.
  const exchange = (bytes: Uint8Array): GenericMessage[] => {
    socket.send(bytes);
    const messages: GenericMessage[] = [];
    for (let datagram = 0; datagram < DATAGRAMS_MAX; datagram++) {
      const length = socket.receive(buffer);
      if (length === 0) break;
      messages.push(...parseGeneric(buffer.slice(0, length)));
    }
    return messages;
  };
  try {
    const family = exchange(request(GENL_ID_CTRL, REQUEST, CTRL_CMD_GETFAMILY, 'netdev'))
      .map(({ attributes }) => attributes.get(CTRL_ATTR_FAMILY_ID)?.getUint16(0, LITTLE))
      .find((id) => id !== undefined);
    if (family === undefined) return new Map();
    return new Map(
      exchange(request(family, REQUEST_DUMP, NETDEV_CMD_DEV_GET))
        .filter(({ type }) => type === family)
        .flatMap(({ attributes }): (readonly [number, number])[] => {
          const index = attributes.get(NETDEV_A_DEV_IFINDEX);
          const features = attributes.get(NETDEV_A_DEV_XDP_FEATURES);
          if (index === undefined || features === undefined) return [];
          return [[index.getUint32(0, LITTLE), Number(features.getBigUint64(0, LITTLE))]];
        }),
    );
  } finally {
    socket.close();
  }
}
