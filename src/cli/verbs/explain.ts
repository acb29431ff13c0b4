/**
 * `xvs explain`: what the running director would do with a packet, decision by decision. The packet
 * is described or read here; the director rehearses it on copies of its tables, and stays as it is.
 */
import { readFileSync } from 'node:fs';
import type { ExplainAnswer, ExplainedFrame, ExplainTuple } from '../../control/explain/protocol';
import { ask, FailedError, LineError, readOptions, type Verb, wholeNumber } from './verb';

const HELP = `usage: xvs explain PROTOCOL SOURCE:PORT DESTINATION:PORT [--flags FLAGS] [--length N]
                   [--ttl N] [--interface NAME] [--bytes] [--json]
       xvs explain --hex FRAME [--interface NAME] [--bytes] [--json]
       xvs explain --pcap FILE [--number N] [--interface NAME] [--bytes] [--json]

Says what the director would do with a packet if it came now: what the XDP program decides, what
the parser reads, which mark, service and connection it belongs to, which real server the scheduler
or a persistence template would choose, state and timeout, the next hop, TTL and length, the counter
that it would add to, and the frames that would leave. Nothing is changed by it: the packet goes
through the workers' own code on copies of what it can touch.

PROTOCOL is tcp, udp or sctp; an IPv6 address with its port is [2001:db8::1]:80.

  --flags FLAGS     of TCP, letters of FSRPAU; S unless said
  --length N        bytes of the IP packet; no payload unless said
  --ttl N           64 unless said
  --hex FRAME       an Ethernet frame in hex; blanks and colons may stand in it
  --pcap FILE       a frame of a capture (pcap or pcapng); "-" is not allowed
  --number N        which one, from 1; the first unless said
  --interface NAME  where it comes in; else where the route to its source leads
  --bytes           show frames in hex too
  --json            the answer as JSON

Known to a worker alone, and so not foreseen: identifications of packets it sends of its own, what
the scheduler twos draws, which packet drop_packet drops (what becomes of the others is shown), how
many ICMP errors it may still send.
`;

const OPTIONS = {
  flags: 'FLAGS',
  length: 'N',
  ttl: 'N',
  hex: 'FRAME',
  pcap: 'FILE',
  number: 'N',
  interface: 'NAME',
  bytes: 'flag',
  json: 'flag',
};
const LENGTH_MAX = 3600;
const TTL_MAX = 255;
const PORT_MAX = 65535;
const NUMBER_MAX = 2 ** 31 - 1;
const FLAG_LETTERS = 'FSRPAU';
const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;
/** Of a tuple: they mean nothing with a frame. */
const TUPLE_OPTIONS = ['flags', 'length', 'ttl'] as const;

type CaptureFile = typeof import('../../control/replay/captureFile');
type Values = ReadonlyMap<string, string>;

function endOf(text: string): { readonly address: string; readonly port: number } {
  const { isIPv4, isIPv6 } = require('node:net') as typeof import('node:net');
  const [, six, four, digits = ''] = /^(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})$/.exec(text) ?? [];
  const address = six ?? four ?? '';
  const isAddress = six === undefined ? isIPv4(address) : isIPv6(address);
  if (isAddress && Number(digits) <= PORT_MAX) return { address, port: Number(digits) };
  throw new LineError(`${text}: 192.0.2.1:80 or [2001:db8::1]:80 is allowed`);
}

function tupleOf(words: readonly string[], values: Values): ExplainTuple {
  const [name = '', from, to, ...others] = words;
  const protocol = PROTOCOLS.find((one) => one === name);
  if (protocol === undefined) {
    throw new LineError(`"${name}": ${PROTOCOLS.join(', ')} are allowed, or --hex, --pcap`);
  }
  if (from === undefined || to === undefined || others.length > 0) {
    throw new LineError(`${words.join(' ')}: PROTOCOL SOURCE:PORT DESTINATION:PORT is allowed`);
  }
  const flags = values.get('flags') ?? (protocol === 'tcp' ? 'S' : '');
  if ([...flags].some((letter) => !FLAG_LETTERS.includes(letter))) {
    throw new LineError(`--flags ${flags}: letters of ${FLAG_LETTERS} are allowed`);
  }
  if (protocol !== 'tcp' && flags !== '') throw new LineError(`--flags: only with tcp`);
  const [source, destination] = [endOf(from), endOf(to)];
  return {
    protocol,
    source: source.address,
    sourcePort: source.port,
    destination: destination.address,
    destinationPort: destination.port,
    flags: [...new Set(flags)].join(''),
    lengthBytes: wholeNumber('length', values.get('length') ?? '0', 0, LENGTH_MAX),
    ttl: wholeNumber('ttl', values.get('ttl') ?? '64', 0, TTL_MAX),
  };
}

function frameOfHex(text: string): string {
  const digits = text.replace(/[\s:]/g, '');
  if (/^(?:[0-9a-fA-F]{2})+$/.test(digits)) return digits.toLowerCase();
  throw new LineError('--hex: an even number of hex digits is allowed');
}

function frameOfFile(path: string, wanted: number): string {
  const { readCapture } = require('../../control/replay/captureFile') as CaptureFile;
  let file: Uint8Array;
  try {
    file = readFileSync(path);
  } catch (error) {
    throw new FailedError(`${path}: cannot be read: ${(error as Error).message}`);
  }
  try {
    const { packets } = readCapture(file, path);
    const packet = packets[wanted - 1];
    if (packet !== undefined) return Buffer.from(packet.frame).toString('hex');
    throw new FailedError(`${path}: packet ${wanted}: it has ${packets.length}`);
  } catch (error) {
    if ((error as Error).name === 'CaptureError') throw new FailedError((error as Error).message);
    throw error;
  }
}

/** The frame that was given, null when a tuple was. */
function frameOf(values: Values, rest: readonly string[]): string | null {
  const hex = values.get('hex');
  const pcap = values.get('pcap');
  if (values.has('number') && pcap === undefined) throw new LineError('--number: only with --pcap');
  if (hex === undefined && pcap === undefined) return null;
  if (hex !== undefined && pcap !== undefined) throw new LineError('--hex: not with --pcap');
  if (rest.length > 0) throw new LineError(`"${rest[0]}": not with --hex or --pcap`);
  for (const name of TUPLE_OPTIONS) {
    if (values.has(name)) throw new LineError(`--${name}: not with --hex or --pcap`);
  }
  if (hex !== undefined) return frameOfHex(hex);
  return frameOfFile(pcap!, wholeNumber('number', values.get('number') ?? '1', 1, NUMBER_MAX));
}

function printFrame(what: string, { text, frame }: ExplainedFrame, withBytes: boolean): string {
  if (!withBytes) return `${what} ${text}\n`;
  const { hexDump } =
    require('../../control/explain/frameText') as typeof import('../../control/explain/frameText');
  const dump = hexDump(Buffer.from(frame, 'hex')).replace(/^/gm, '    ');
  return `${what} ${text}\n${dump}\n`;
}

function printXdp({ xdp }: ExplainAnswer): string {
  if (xdp === null) return '';
  const steps = xdp.steps.map((step) => `  XDP program: ${step}\n`).join('');
  const goes = xdp.verdict.startsWith('pass')
    ? 'the host has it; what follows is what a worker would do'
    : 'to a worker, if its queue has a socket';
  return `${steps}  XDP program: ${xdp.verdict}: ${goes}\n`;
}

function printConnections({ connections }: ExplainAnswer): string {
  return connections
    .map(({ before, after }) => {
      if (before === null) return `  new: ${after}\n`;
      return `  was: ${before}\n  is:  ${after ?? 'over'}\n`;
    })
    .join('');
}

function print(answer: ExplainAnswer, withBytes: boolean): string {
  const { counters, counted, sent, host, interface: name, verdict, meaning } = answer;
  const steps = answer.steps.map(({ step, text }) => `  ${step}: ${text}\n`).join('');
  const grown = Object.entries(counters).map(([counter, count]) => `${counter} ${count}`);
  const whose = [counted.service, counted.server].filter((one) => one !== null);
  return [
    printFrame(`in  ${name}`, answer, withBytes),
    printXdp(answer),
    steps,
    printConnections(answer),
    `  verdict: ${verdict}: ${meaning}\n`,
    `  counters: ${grown.join(', ')}\n`,
    whose.length > 0 ? `  counted for: ${whose.join(', ')}\n` : '',
    ...sent.map((each) => printFrame(`out ${each.interface}`, each, withBytes)),
    ...host.map((each) => printFrame('to the host', each, withBytes)),
  ].join('');
}

export const verb: Verb = {
  help: HELP,
  async run(words, { io, socketPath }) {
    const { flags, values, rest } = readOptions(words, OPTIONS);
    const frame = frameOf(values, rest);
    const tuple = frame === null ? tupleOf(rest, values) : null;
    const request = { interface: values.get('interface') ?? null, tuple, frame };
    const answer = (await ask(socketPath, 'POST', '/v1/explain', request)) as ExplainAnswer;
    io.stdout(
      flags.has('json')
        ? `${JSON.stringify(answer, null, 2)}\n`
        : print(answer, flags.has('bytes')),
    );
    return 0;
  },
};
