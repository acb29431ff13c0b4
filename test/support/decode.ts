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
  const type = view.getUint16(12);
  if (type === 0x0800 && packet.length >= 20) decodeIpv4(fields, '', packet);
  else if (type === 0x86dd && packet.length >= 40) decodeIpv6(fields, '', packet);
  else fields['rest'] = hex(packet);
  return fields;
}

/** As `ip` prints it: the longest run of zero groups is cut. */
function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16),
  );
  const runs = [...groups.join(':').matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)];
  const longest = runs.sort((one, other) => other[0].length - one[0].length)[0];
  if (longest === undefined) return groups.join(':');
  const text = groups.join(':');
  const [head, tail] = [
    text.slice(0, longest.index),
    text.slice(longest.index + longest[0].length),
  ];
  return `${head}::${tail.replace(/^:/, '')}`;
}

/** Headers between IPv6's own and the transport's, all that are known by these numbers. */
const EXTENSIONS = [0, 43, 44, 60];

function decodeIpv6(
  fields: Record<string, string | number>,
  prefix: string,
  packet: Uint8Array,
): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const name = `${prefix}ipv6.`;
  const first = view.getUint32(0);
  const total = 40 + view.getUint16(4);
  fields[`${name}version`] = first >>> 28;
  fields[`${name}trafficClass`] = (first >>> 20) & 0xff;
  fields[`${name}flowLabel`] = first & 0xfffff;
  fields[`${name}payloadLength`] = view.getUint16(4);
  fields[`${name}hopLimit`] = packet[7]!;
  fields[`${name}source`] = ipv6Text(packet.subarray(8, 24));
  fields[`${name}destination`] = ipv6Text(packet.subarray(24, 40));
  if (packet.length > total) fields[`${prefix}padding`] = packet.length - total;
  let [protocol, at, offset, isFragment] = [packet[6]!, 40, 0, false];
  while (EXTENSIONS.includes(protocol) && at + 8 <= packet.length) {
    const bytes = protocol === 44 ? 8 : 8 + packet[at + 1]! * 8;
    fields[`${name}extension${protocol}`] = hex(packet.subarray(at, at + bytes));
    if (protocol === 44) {
      offset = view.getUint16(at + 2) >> 3;
      isFragment = (view.getUint16(at + 2) & 0xfff9) !== 0;
    }
    [protocol, at] = [packet[at]!, at + bytes];
  }
  fields[`${name}protocol`] = protocol;
  const content = packet.subarray(at, Math.max(at, total));
  const pseudo = onesSum(
    Uint8Array.from([
      ...packet.subarray(8, 40),
      0,
      protocol,
      content.length >> 8,
      content.length & 255,
    ]),
  );
  const isWhole = packet.length >= total && !isFragment;
  if (offset !== 0) fields[`${prefix}payload`] = hex(content);
  else if (protocol === 58 && content.length >= 8) {
    decodeIcmp(fields, prefix, content, 'icmp6', pseudo);
  } else decodeTransport(fields, prefix, protocol, content, pseudo, isWhole);
}

function decodeTransport(
  fields: Record<string, string | number>,
  prefix: string,
  protocol: number,
  content: Uint8Array,
  pseudo: number,
  isWhole: boolean,
): void {
  if (protocol === 6 && content.length >= 20) decodeTcp(fields, prefix, content, pseudo, isWhole);
  else if (protocol === 17 && content.length >= 8) {
    decodeUdp(fields, prefix, content, pseudo, isWhole);
  } else fields[`${prefix}payload`] = hex(content);
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
  else if (packet[9] === 1 && content.length >= 8) {
    decodeIcmp(fields, prefix, content, 'icmp', 0);
  } else decodeTransport(fields, prefix, packet[9]!, content, pseudo, isWhole);
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

const QUOTING_TYPES = { icmp: [3, 4, 11], icmp6: [1, 2, 3, 4] } as const;

function decodeIcmp(
  fields: Record<string, string | number>,
  prefix: string,
  content: Uint8Array,
  kind: 'icmp' | 'icmp6',
  pseudo: number,
): void {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const name = `${prefix}${kind}.`;
  fields[`${name}type`] = content[0]!;
  fields[`${name}code`] = content[1]!;
  fields[`${name}checksum`] = view.getUint16(2);
  fields[`${name}checksumIs`] = internetChecksum(content, pseudo) === 0 ? 'correct' : 'wrong';
  fields[`${name}rest`] = view.getUint32(4);
  const quoted = content.subarray(8);
  const quotes = (QUOTING_TYPES[kind] as readonly number[]).includes(content[0]!);
  if (quotes && kind === 'icmp' && quoted.length >= 20) {
    decodeIpv4(fields, `${name}quoted.`, quoted);
  } else if (quotes && kind === 'icmp6' && quoted.length >= 40) {
    decodeIpv6(fields, `${name}quoted.`, quoted);
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
  const family = fields['ipv6.source'] === undefined ? 'ipv4' : 'ipv6';
  const [source, destination] = [fields[`${family}.source`], fields[`${family}.destination`]];
  if (source === undefined) return `${fields['ethernet.type'] ?? ''} ${frame.length} bytes`;
  const kind = ['tcp', 'udp', 'icmp', 'icmp6'].find(
    (name) => `${name}.source` in fields || `${name}.type` in fields,
  );
  const ports = (end: string): string => String(fields[`${kind}.${end}`] ?? '');
  const detail = fields['tcp.flags'] ?? fields['icmp.type'] ?? fields['icmp6.type'] ?? '';
  const ends = `${source}:${ports('source')} > ${destination}:${ports('destination')}`;
  const hops = fields['ipv4.ttl'] ?? fields['ipv6.hopLimit'];
  const rest = `[${detail}] ttl ${hops}, ${frame.length} bytes`;
  return `${kind ?? fields[`${family}.protocol`]} ${ends} ${rest}`;
}
