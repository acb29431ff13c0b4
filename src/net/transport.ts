/**
 * What TCP and UDP share: both ports in the first four bytes (RFC 9293 3.1, RFC 768). A pair of
 * ports is one int32, source << 16 | destination, as it stands on the wire.
 */

export function ports(view: DataView, at: number): number {
  return view.getInt32(at);
}
export function setPorts(view: DataView, at: number, pair: number): void {
  view.setInt32(at, pair);
}
export function sourcePort(pair: number): number {
  return pair >>> 16;
}
export function destinationPort(pair: number): number {
  return pair & 0xffff;
}
export function portPair(source: number, destination: number): number {
  return (source << 16) | destination;
}
