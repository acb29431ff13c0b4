/** Accessors as src/net has them: exported functions with a module's own constants. */
import { LAYOUT } from './frames';

const { type: TYPE, ttl: TTL, protocol: PROTOCOL } = LAYOUT.at;
const { source: SOURCE, destination: DESTINATION } = LAYOUT.at;

export function frameType(view: DataView, at: number): number {
  return view.getUint16(at + TYPE);
}
export function frameTtl(view: DataView, at: number): number {
  return view.getUint8(at + TTL);
}
export function frameProtocol(view: DataView, at: number): number {
  return view.getUint8(at + PROTOCOL);
}
export function frameSource(view: DataView, at: number): number {
  return view.getInt32(at + SOURCE);
}
export function frameDestination(view: DataView, at: number): number {
  return view.getInt32(at + DESTINATION);
}

/** A constant that is exported and used by others. */
export const EXPORTED_MASK = 0x3fff;
