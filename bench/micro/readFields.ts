/**
 * Five header fields of a frame, read in the ways one might think of. Each returns something that
 * depends on all five, over all frames, so that nothing is optimised away.
 */
import {
  EXPORTED_MASK,
  frameDestination,
  frameProtocol,
  frameSource,
  frameTtl,
  frameType,
} from './accessors';
import { bytes, FRAMES, LAYOUT, STRIDE, view } from './frames';

const { type: TYPE, ttl: TTL, protocol: PROTOCOL } = LAYOUT.at;
const { source: SOURCE, destination: DESTINATION } = LAYOUT.at;

export function withLocalConstants(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    sum ^=
      view.getUint16(at + TYPE) +
      view.getUint8(at + TTL) +
      view.getUint8(at + PROTOCOL) +
      (view.getInt32(at + SOURCE) ^ view.getInt32(at + DESTINATION));
  }
  return sum;
}

export function withAccessors(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    sum ^=
      frameType(view, at) +
      frameTtl(view, at) +
      frameProtocol(view, at) +
      (frameSource(view, at) ^ frameDestination(view, at));
  }
  return sum;
}

/** Made once, moved from frame to frame. */
class Cursor {
  type = 0;
  ttl = 0;
  protocol = 0;
  source = 0;
  destination = 0;

  read(at: number): void {
    this.type = view.getUint16(at + TYPE);
    this.ttl = view.getUint8(at + TTL);
    this.protocol = view.getUint8(at + PROTOCOL);
    this.source = view.getInt32(at + SOURCE);
    this.destination = view.getInt32(at + DESTINATION);
  }
}
const cursor = new Cursor();

export function withCursor(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    cursor.read(at);
    sum ^= cursor.type + cursor.ttl + cursor.protocol + (cursor.source ^ cursor.destination);
  }
  return sum;
}

function word(at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

export function withByteShifts(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    sum ^=
      ((bytes[at + TYPE]! << 8) | bytes[at + TYPE + 1]!) +
      bytes[at + TTL]! +
      bytes[at + PROTOCOL]! +
      (word(at + SOURCE) ^ word(at + DESTINATION));
  }
  return sum;
}

export function withLayoutObject(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    sum ^=
      view.getUint16(at + LAYOUT.at.type) +
      view.getUint8(at + LAYOUT.at.ttl) +
      view.getUint8(at + LAYOUT.at.protocol) +
      (view.getInt32(at + LAYOUT.at.source) ^ view.getInt32(at + LAYOUT.at.destination));
  }
  return sum;
}

export function withSubarray(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    const frame = bytes.subarray(at, at + 64);
    sum ^=
      ((frame[TYPE]! << 8) | frame[TYPE + 1]!) +
      frame[TTL]! +
      frame[PROTOCOL]! +
      (frame[SOURCE]! ^ frame[DESTINATION]!);
  }
  return sum;
}

export function withBigInt(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    const addresses = view.getBigInt64(at + SOURCE);
    sum ^=
      view.getUint16(at + TYPE) +
      view.getUint8(at + TTL) +
      view.getUint8(at + PROTOCOL) +
      Number((addresses >> 32n) ^ (addresses & 0xffffffffn));
  }
  return sum;
}

/** A reader per frame that hands out readers of its fields. */
function frameReader(at: number) {
  return {
    number: (offset: number, size: number) => () =>
      size === 4
        ? view.getInt32(at + offset)
        : size === 2
          ? view.getUint16(at + offset)
          : view.getUint8(at + offset),
  };
}

export function withClosures(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    const { number } = frameReader(at);
    sum ^=
      number(TYPE, 2)() +
      number(TTL, 1)() +
      number(PROTOCOL, 1)() +
      (number(SOURCE, 4)() ^ number(DESTINATION, 4)());
  }
  return sum;
}

const OWN_MASK = EXPORTED_MASK;

export function withImportedConstant(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    sum += at & EXPORTED_MASK;
    sum ^= sum & EXPORTED_MASK;
  }
  return sum;
}

export function withOwnConstant(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STRIDE; at += STRIDE) {
    sum += at & OWN_MASK;
    sum ^= sum & OWN_MASK;
  }
  return sum;
}
