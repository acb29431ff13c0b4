/** Frames as flat lists of fields, and what differs between two of them: see packet.ts. */
import { internetChecksum, onesSum } from './packet';

/** "ipv4.ttl" -> 63. Checksums come with whether they hold: "tcp.checksumIs" -> "correct". */
export type Fields = Readonly<Record<string, string | number>>;

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
function mac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
function flagLetters(bits: number): string {
  return [...'FSRPAU'].filter((_letter, bit) => (bits >> bit) & 1).join('');
}

/** Decodes a frame, also one that quotes a packet in an ICMP error ("icmp.quoted.ipv4.ttl"). */
export function decode(frame: Uint8Array): Fields {
  const fields: Record<string, string | number> = { bytes: frame.length };
  if (frame.length < 14) return { ...fields, rest: hex(frame) };
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  fields['ethernet.destination'] = mac(frame.subarray(0, 6));
  fields['ethernet.source'] = mac(frame.subarray(6, 12));
  fields['ethernet.type'] = view.getUint16(12);
  const packet = frame.subarray(14);
  if (view.getUint16(12) !== 0x0800 || packet.length < 20) return { ...fields, rest: hex(packet) };
  decodeIpv4(fields, '', packet);
  return fields;
}

function decodeIpv4(
  fields: Record<string, string | number>,
  prefix: string,
  packet: Uint8Array,
): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const name = `${prefix}ipv4.`;
  const headerBytes = (packet[0]! & 15) * 4;
  const total = view.getUint16(2);
  fields[`${name}version`] = packet[0]! >> 4;
  fields[`${name}headerBytes`] = headerBytes;
  fields[`${name}tos`] = packet[1]!;
  fields[`${name}totalLength`] = total;
  fields[`${name}id`] = view.getUint16(4);
  fields[`${name}fragment`] = view.getUint16(6);
  fields[`${name}ttl`] = packet[8]!;
  fields[`${name}protocol`] = packet[9]!;
  fields[`${name}checksum`] = view.getUint16(10);
  const holds = internetChecksum(packet.subarray(0, headerBytes)) === 0;
  fields[`${name}checksumIs`] = holds ? 'correct' : 'wrong';
  fields[`${name}source`] = packet.subarray(12, 16).join('.');
  fields[`${name}destination`] = packet.subarray(16, 20).join('.');
  if (headerBytes > 20) fields[`${name}options`] = hex(packet.subarray(20, headerBytes));
  const content = packet.subarray(headerBytes, total);
  if (packet.length > total) fields[`${prefix}padding`] = packet.length - total;
  const isWhole = packet.length >= total && (view.getUint16(6) & 0x3fff) === 0;
  const pseudo = onesSum(
    Uint8Array.from([
      ...packet.subarray(12, 20),
      0,
      packet[9]!,
      content.length >> 8,
      content.length & 255,
    ]),
  );
  const isFirst = (view.getUint16(6) & 0x1fff) === 0;
  if (!isFirst) fields[`${prefix}payload`] = hex(content);
  else if (packet[9] === 6 && content.length >= 20)
    decodeTcp(fields, prefix, content, pseudo, isWhole);
  else if (packet[9] === 17 && content.length >= 8) {
    decodeUdp(fields, prefix, content, pseudo, isWhole);
  } else if (packet[9] === 1 && content.length >= 8) decodeIcmp(fields, prefix, content);
  else fields[`${prefix}payload`] = hex(content);
}

function checksumIs(content: Uint8Array, held: number, pseudo: number, isWhole: boolean): string {
  if (!isWhole) return 'unknown';
  if (internetChecksum(content, pseudo) === 0) return 'correct';
  return held === pseudo ? 'unfinished' : 'wrong';
}

function decodeTcp(
  fields: Record<string, string | number>,
  prefix: string,
  content: Uint8Array,
  pseudo: number,
  isWhole: boolean,
): void {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const name = `${prefix}tcp.`;
  const headerBytes = (content[12]! >> 4) * 4;
  fields[`${name}source`] = view.getUint16(0);
  fields[`${name}destination`] = view.getUint16(2);
  fields[`${name}sequence`] = view.getUint32(4);
  fields[`${name}acknowledgement`] = view.getUint32(8);
  fields[`${name}headerBytes`] = headerBytes;
  fields[`${name}flags`] = flagLetters(content[13]!);
  fields[`${name}window`] = view.getUint16(14);
  fields[`${name}checksum`] = view.getUint16(16);
  fields[`${name}checksumIs`] = checksumIs(content, view.getUint16(16), pseudo, isWhole);
  fields[`${name}urgent`] = view.getUint16(18);
  fields[`${name}options`] = hex(content.subarray(20, headerBytes));
  fields[`${prefix}payload`] = hex(content.subarray(headerBytes));
}

function decodeUdp(
  fields: Record<string, string | number>,
  prefix: string,
  content: Uint8Array,
  pseudo: number,
  isWhole: boolean,
): void {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const name = `${prefix}udp.`;
  const held = view.getUint16(6);
  fields[`${name}source`] = view.getUint16(0);
  fields[`${name}destination`] = view.getUint16(2);
  fields[`${name}length`] = view.getUint16(4);
  fields[`${name}checksum`] = held;
  fields[`${name}checksumIs`] = held === 0 ? 'none' : checksumIs(content, held, pseudo, isWhole);
  fields[`${prefix}payload`] = hex(content.subarray(8));
}

const QUOTING_TYPES = [3, 4, 11];

function decodeIcmp(
  fields: Record<string, string | number>,
  prefix: string,
  content: Uint8Array,
): void {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const name = `${prefix}icmp.`;
  fields[`${name}type`] = content[0]!;
  fields[`${name}code`] = content[1]!;
  fields[`${name}checksum`] = view.getUint16(2);
  fields[`${name}checksumIs`] = internetChecksum(content) === 0 ? 'correct' : 'wrong';
  fields[`${name}rest`] = view.getUint32(4);
  const quoted = content.subarray(8);
  if (QUOTING_TYPES.includes(content[0]!) && quoted.length >= 20) {
    decodeIpv4(fields, `${prefix}icmp.quoted.`, quoted);
  } else fields[`${prefix}payload`] = hex(quoted);
}

/** One line for each field that differs; fields whose name `ignored` matches are left out. */
export function differences(
  actual: Uint8Array,
  expected: Uint8Array,
  ignored: (name: string) => boolean = () => false,
): string[] {
  const left = decode(actual);
  const right = decode(expected);
  return [...new Set([...Object.keys(left), ...Object.keys(right)])]
    .filter((name) => !ignored(name) && left[name] !== right[name])
    .map((name) => `${name}: ${left[name]}, expected ${right[name]}`);
}

/** A frame on one line, for messages. */
export function summary(frame: Uint8Array): string {
  const fields = decode(frame);
  const [source, destination] = [fields['ipv4.source'], fields['ipv4.destination']];
  if (source === undefined) return `${fields['ethernet.type'] ?? ''} ${frame.length} bytes`;
  const kind = ['tcp', 'udp', 'icmp'].find(
    (name) => `${name}.source` in fields || `${name}.type` in fields,
  );
  const ports = (end: string): string => String(fields[`${kind}.${end}`] ?? '');
  const detail = fields['tcp.flags'] ?? fields['icmp.type'] ?? '';
  const ends = `${source}:${ports('source')} > ${destination}:${ports('destination')}`;
  const rest = `[${detail}] ttl ${fields['ipv4.ttl']}, ${frame.length} bytes`;
  return `${kind ?? fields['ipv4.protocol']} ${ends} ${rest}`;
}
