/**
 * A capture file in pcapng (draft-ietf-opsawg-pcapng), little-endian, stamps in microseconds. Every
 * interface of the director is two: "NAME in" has what came, "NAME out" what left, so that a
 * packet's both sides stand beside each other; comments say what became of it.
 */
import { closeSync, openSync, writeSync } from 'node:fs';

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINK_ETHERNET = 1;
const OPTION_COMMENT = 1;
const OPTION_INTERFACE_NAME = 2;
const OPTION_APPLICATION = 4;
/** Type and length in front, the length again behind. */
const BLOCK_FRAME_BYTES = 12;

export type Direction = 'in' | 'out';

export class PcapngFile {
  readonly #file: number;
  readonly #interfaces = new Map<string, number>();
  readonly #snapBytes: number;

  /** Throws the system's error when the file cannot be made. */
  constructor(path: string, snapBytes: number) {
    this.#file = openSync(path, 'w');
    this.#snapBytes = snapBytes;
    this.#write(sectionHeader());
  }

  /** `lengthBytes`: of the whole frame, of which `bytes` are there. */
  add(
    name: string,
    direction: Direction,
    microseconds: number,
    bytes: Uint8Array,
    lengthBytes: number,
    comment: string,
  ): void {
    const number = this.#interface(`${name} ${direction}`);
    const head = Buffer.alloc(20);
    head.writeUInt32LE(number, 0);
    head.writeUInt32LE(Math.floor(microseconds / 2 ** 32), 4);
    head.writeUInt32LE(microseconds % 2 ** 32, 8);
    head.writeUInt32LE(bytes.length, 12);
    head.writeUInt32LE(lengthBytes, 16);
    const parts = [head, padded(bytes), option(OPTION_COMMENT, comment), END_OF_OPTIONS];
    this.#write(block(ENHANCED_PACKET, parts));
  }

  close(): void {
    closeSync(this.#file);
  }

  /** Its number; described in the file before its first frame. */
  #interface(name: string): number {
    const known = this.#interfaces.get(name);
    if (known !== undefined) return known;
    const head = Buffer.alloc(8);
    head.writeUInt16LE(LINK_ETHERNET, 0);
    head.writeUInt32LE(this.#snapBytes, 4);
    this.#write(
      block(INTERFACE_DESCRIPTION, [head, option(OPTION_INTERFACE_NAME, name), END_OF_OPTIONS]),
    );
    this.#interfaces.set(name, this.#interfaces.size);
    return this.#interfaces.size - 1;
  }

  #write(bytes: Buffer): void {
    let written = 0;
    while (written < bytes.length) written += writeSync(this.#file, bytes, written);
  }
}

const END_OF_OPTIONS = Buffer.alloc(4);

function sectionHeader(): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32LE(BYTE_ORDER_MAGIC, 0);
  head.writeUInt16LE(1, 4);
  // The section's length is not known.
  head.writeBigInt64LE(-1n, 8);
  return block(SECTION_HEADER, [head, option(OPTION_APPLICATION, 'xvs trace'), END_OF_OPTIONS]);
}

function block(type: number, parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, BLOCK_FRAME_BYTES);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(type, 0);
  head.writeUInt32LE(length, 4);
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(length, 0);
  return Buffer.concat([head, ...parts, tail]);
}

function option(code: number, text: string): Buffer {
  const value = Buffer.from(text);
  const head = Buffer.alloc(4);
  head.writeUInt16LE(code, 0);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, padded(value)]);
}

/** To whole words. */
function padded(bytes: Uint8Array): Uint8Array {
  const rest = (4 - (bytes.length & 3)) & 3;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(rest)]);
}
