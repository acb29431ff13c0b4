/** Ethernet II frames (IEEE 802.3, RFC 894). `at`: offset of the frame's first byte. */
import { record } from '../layout/record';

export const ETHERNET = record('ethernet', 14, { destination: 'mac', source: 'mac', type: 'u16' });
export const ETHERNET_BYTES = 14;
export const TYPE_IPV4 = 0x0800;
export const TYPE_IPV6 = 0x86dd;

const { type: TYPE } = ETHERNET.at;

export function ethernetType(view: DataView, at: number): number {
  return view.getUint16(at + TYPE);
}

/** Group bit of the destination: broadcast or multicast. */
export function isGroupFrame(view: DataView, at: number): boolean {
  return (view.getUint8(at) & 1) === 1;
}

export function setEthernetDestination(
  view: DataView,
  at: number,
  high: number,
  low: number,
): void {
  view.setInt32(at, high);
  view.setInt16(at + 4, low);
}

export function setEthernetType(view: DataView, at: number, type: number): void {
  view.setUint16(at + TYPE, type);
}
