/**
 * Reads captures: classic pcap (draft-ietf-opsawg-pcap: microseconds or nanoseconds, either byte
 * order) and pcapng (draft-ietf-opsawg-pcapng: section header, interface description, enhanced and
 * simple packet blocks; others are passed over). Ethernet only. Frames are views of the file's
 * bytes.
 */

export interface CapturedInterface {
  /** '' where the file does not say. */
  readonly name: string;
}

export interface CapturedPacket {
  /** From 1, as tcpdump and Wireshark count. */
  readonly number: number;
  readonly nanoseconds: bigint;
  /** Index in `interfaces`. */
  readonly interface: number;
  readonly frame: Uint8Array;
  /** Bytes of the frame on the wire: more than `frame` has when the capture cut it. */
  readonly wireBytes: number;
}

export interface Capture {
  readonly interfaces: readonly CapturedInterface[];
  readonly packets: readonly CapturedPacket[];
}

/** The file is no capture, or not one that can be read: says where and what is allowed. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
}

const PCAP_MICROSECONDS = 0xa1b2c3d4;
const PCAP_NANOSECONDS = 0xa1b23c4d;
const PCAP_HEADER = 24;
const PCAP_RECORD = 16;
const LINK_ETHERNET = 1;
const LINK_BITS = 0xffff;
const SECOND = 1_000_000_000n;

/** `name`: for messages. Throws CaptureError. */
export function readCapture(file: Uint8Array, name: string): Capture {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  if (file.length < 4) throw new CaptureError(`${name}: ${file.length} bytes are no capture`);
  if (view.getUint32(0) === SECTION_HEADER) return new PcapngReader(file, view, name).read();
  for (const isLittle of [true, false]) {
    const magic = view.getUint32(0, isLittle);
    if (magic !== PCAP_MICROSECONDS && magic !== PCAP_NANOSECONDS) continue;
    return readPcap(file, view, name, isLittle, magic === PCAP_MICROSECONDS ? 1000n : 1n);
  }
  const begins = view.getUint32(0).toString(16).padStart(8, '0');
  throw new CaptureError(`${name}: begins with ${begins}; pcap and pcapng files are allowed`);
}

function requireEthernet(name: string, link: number): void {
  if (link === LINK_ETHERNET) return;
  throw new CaptureError(`${name}: link type ${link}: ${LINK_ETHERNET} (Ethernet) is allowed`);
}

function readPcap(
  file: Uint8Array,
  view: DataView,
  name: string,
  isLittle: boolean,
  unit: bigint,
): Capture {
  if (file.length < PCAP_HEADER) throw new CaptureError(`${name}: its header is cut short`);
  requireEthernet(name, view.getUint32(20, isLittle) & LINK_BITS);
  const packets: CapturedPacket[] = [];
  let at = PCAP_HEADER;
  while (at < file.length) {
    const number = packets.length + 1;
    const data = at + PCAP_RECORD;
    const captured = data <= file.length ? view.getUint32(at + 8, isLittle) : Infinity;
    if (data + captured > file.length) {
      throw new CaptureError(`${name}: packet ${number} at byte ${at} goes beyond the file's end`);
    }
    const seconds = BigInt(view.getUint32(at, isLittle));
    const fraction = BigInt(view.getUint32(at + 4, isLittle));
    packets.push({
      number,
      nanoseconds: seconds * SECOND + fraction * unit,
      interface: 0,
      frame: file.subarray(data, data + captured),
      wireBytes: view.getUint32(at + 12, isLittle),
    });
    at = data + captured;
  }
  return { interfaces: [{ name: '' }], packets };
}

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
/** Type, length; and the length again at its end. */
const BLOCK_HEAD = 8;
const BLOCK_MIN = 12;
const OPTION_END = 0;
const OPTION_NAME = 2;
const OPTION_RESOLUTION = 9;
const OPTION_OFFSET = 14;
const MICROSECONDS = 6;

interface PcapngInterface extends CapturedInterface {
  /** Stamps in a second. */
  readonly resolution: bigint;
  readonly offsetSeconds: bigint;
  readonly snapBytes: number;
}

class PcapngReader {
  readonly #file: Uint8Array;
  readonly #view: DataView;
  readonly #name: string;
  readonly #interfaces: PcapngInterface[] = [];
  readonly #packets: CapturedPacket[] = [];
  /** Number of the section's first interface: each section counts from 0. */
  #firstInterface = 0;
  #isLittle = false;

  constructor(file: Uint8Array, view: DataView, name: string) {
    this.#file = file;
    this.#view = view;
    this.#name = name;
  }

  read(): Capture {
    const view = this.#view;
    for (let at = 0; at < this.#file.length; ) {
      if (at + BLOCK_MIN > this.#file.length) this.#refuse(at, 'is cut short');
      const isSection = view.getUint32(at) === SECTION_HEADER;
      if (isSection) this.#beginSection(at);
      const type = view.getUint32(at, this.#isLittle);
      const length = view.getUint32(at + 4, this.#isLittle);
      if (length < BLOCK_MIN || length % 4 !== 0 || at + length > this.#file.length) {
        this.#refuse(at, `has a length of ${length} bytes`);
      }
      const end = at + length - 4;
      if (type === INTERFACE_DESCRIPTION) this.#addInterface(at + BLOCK_HEAD, end);
      else if (type === ENHANCED_PACKET) this.#addPacket(at + BLOCK_HEAD, end);
      else if (type === SIMPLE_PACKET) this.#addSimple(at + BLOCK_HEAD, end);
      at += length;
    }
    return { interfaces: this.#interfaces, packets: this.#packets };
  }

  #refuse(at: number, what: string): never {
    throw new CaptureError(`${this.#name}: the block at byte ${at} ${what}`);
  }

  #beginSection(at: number): void {
    const orders = [true, false].filter(
      (isLittle) => this.#view.getUint32(at + BLOCK_HEAD, isLittle) === BYTE_ORDER,
    );
    if (orders.length === 0) this.#refuse(at, 'has no byte order');
    this.#isLittle = orders[0]!;
    this.#firstInterface = this.#interfaces.length;
  }

  #addInterface(at: number, end: number): void {
    if (at + 8 > end) this.#refuse(at - BLOCK_HEAD, 'is cut short');
    const view = this.#view;
    requireEthernet(this.#name, view.getUint16(at, this.#isLittle));
    let name = '';
    let resolution = 10n ** BigInt(MICROSECONDS);
    let offsetSeconds = 0n;
    for (let option = at + 8; option + 4 <= end; ) {
      const code = view.getUint16(option, this.#isLittle);
      const length = view.getUint16(option + 2, this.#isLittle);
      const value = option + 4;
      if (code === OPTION_END || value + length > end) break;
      if (code === OPTION_NAME) name = this.#text(value, length);
      if (code === OPTION_RESOLUTION) resolution = resolutionOf(view.getUint8(value));
      if (code === OPTION_OFFSET) offsetSeconds = view.getBigInt64(value, this.#isLittle);
      option = value + Math.ceil(length / 4) * 4;
    }
    const snapBytes = view.getUint32(at + 4, this.#isLittle);
    this.#interfaces.push({ name, resolution, offsetSeconds, snapBytes });
  }

  #text(at: number, length: number): string {
    const bytes = this.#file.subarray(at, at + length);
    return Buffer.from(bytes).toString('utf8').replace(/\0.*$/s, '');
  }

  #addPacket(at: number, end: number): void {
    const view = this.#view;
    if (at + 20 > end) this.#refuse(at - BLOCK_HEAD, 'is cut short');
    const [word0, high, low] = [0, 4, 8].map((offset) =>
      view.getUint32(at + offset, this.#isLittle),
    );
    const place = this.#firstInterface + word0!;
    const from = this.#interfaces[place];
    if (from === undefined) this.#refuse(at - BLOCK_HEAD, `is of unknown interface ${word0}`);
    const captured = view.getUint32(at + 12, this.#isLittle);
    const data = at + 20;
    if (data + captured > end) this.#refuse(at - BLOCK_HEAD, 'goes beyond its end');
    const stamp = (BigInt(high!) << 32n) | BigInt(low!);
    this.#packets.push({
      number: this.#packets.length + 1,
      nanoseconds: (stamp * SECOND) / from.resolution + from.offsetSeconds * SECOND,
      interface: place,
      frame: this.#file.subarray(data, data + captured),
      wireBytes: view.getUint32(at + 16, this.#isLittle),
    });
  }

  /** Without time: that of the packet before. */
  #addSimple(at: number, end: number): void {
    const from = this.#interfaces[this.#firstInterface];
    if (from === undefined) this.#refuse(at - BLOCK_HEAD, 'is of unknown interface 0');
    const wireBytes = this.#view.getUint32(at, this.#isLittle);
    const most = from.snapBytes === 0 ? wireBytes : Math.min(wireBytes, from.snapBytes);
    const data = at + 4;
    const captured = Math.min(most, end - data);
    const before = this.#packets[this.#packets.length - 1];
    this.#packets.push({
      number: this.#packets.length + 1,
      nanoseconds: before?.nanoseconds ?? 0n,
      interface: this.#firstInterface,
      frame: this.#file.subarray(data, data + captured),
      wireBytes,
    });
  }
}

/** A power of ten, or of two with the top bit set. */
function resolutionOf(byte: number): bigint {
  return (byte & 0x80) === 0 ? 10n ** BigInt(byte) : 2n ** BigInt(byte & 0x7f);
}
