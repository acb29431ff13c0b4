/**
 * `xvs trace [FILTER]`: live packets and what becomes of them, as text, JSON or a capture file.
 * The filter is the director's to run; it is off again when this command ends, however it does.
 */
import { parseFilter } from '../../control/trace/filterParse';
import type { TracedPacket, TraceMessage, TraceRequest } from '../../control/trace/protocol';
import type { ToolIo } from '../io';
import { PcapngFile } from '../trace/pcapng';
import { bytesOf, printPacket, verdictText } from '../trace/print';
import { LineStream } from '../trace/stream';
import { FailedError, LineError, readOptions, type Verb, wholeNumber } from './verb';

const SNAP_BYTES = 65535;
const SNAP_BYTES_MIN = 64;
const COUNT_MAX = 1_000_000_000;
const SECONDS_MAX = 86_400;

const HELP = `usage: xvs trace [--count N] [--seconds S] [--pcap FILE] [--json] [--snaplen BYTES]
                 [FILTER]

Shows packets that reach a worker and fit FILTER, each with what came in, what went out, and what
became of it: forwarded, and by which method to which real server, or the counter that says why
not. Packets that the XDP program leaves to the host never reach a worker: tcpdump shows those.

FILTER is tcpdump's language, the common subset; without one it is every packet:

  [ip|ip6] [src|dst|src or dst|src and dst] host ADDRESS | net NETWORK[/LENGTH]
  [tcp|udp|sctp] [src|dst|...] port PORT | portrange FIRST-LAST
  ether [src|dst] host MAC          ip, ip6, arp, tcp, udp, sctp, icmp, icmp6, ah, esp
  [ip|ip6] proto NUMBER             less BYTES, greater BYTES
  PROTOCOL[OFFSET:BYTES] & MASK = VALUE, as in "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0"
  and, or, not, ( )

  --count N        end after so many packets
  --seconds S      end after so long
  --pcap FILE      write both sides of each packet as pcapng, as interfaces "NAME in" and
                   "NAME out", with what became of it as comment, and print only the count
  --snaplen BYTES  keep so much of each frame, ${SNAP_BYTES_MIN} at least; else all of it
  --json           a line of JSON a packet

Packets that come faster than they can be kept are counted, not shown. One trace at a time; it ends
when nothing of it was read for a minute, as behind a pager.
`;
const UNREAD = 'xvs: the director has ended it: nothing was read for a minute\n';

interface Line {
  readonly request: TraceRequest;
  readonly pcap: string | null;
  readonly json: boolean;
}

function parse(words: readonly string[]): Line {
  const known = { count: 'N', seconds: 'S', pcap: 'FILE', snaplen: 'BYTES', json: 'flag' };
  const { flags, values, rest } = readOptions(words, known);
  const number = (name: string, minimum: number, maximum: number, otherwise: number): number => {
    const text = values.get(name);
    return text === undefined ? otherwise : wholeNumber(name, text, minimum, maximum);
  };
  const filter = rest.join(' ');
  try {
    parseFilter(filter);
  } catch (error) {
    throw new LineError((error as Error).message);
  }
  if (flags.has('json') && values.has('pcap')) throw new LineError('--json: not with --pcap');
  return {
    request: {
      filter,
      snapBytes: number('snaplen', SNAP_BYTES_MIN, SNAP_BYTES, SNAP_BYTES),
      count: number('count', 1, COUNT_MAX, 0),
      seconds: number('seconds', 1, SECONDS_MAX, 0),
    },
    pcap: values.get('pcap') ?? null,
    json: flags.has('json'),
  };
}

/** What is done with each packet. */
interface Sink {
  add(packet: TracedPacket): void;
  close(): void;
}

function openSink({ pcap, json, request }: Line, io: ToolIo): Sink {
  if (pcap !== null) return openPcap(pcap, request.snapBytes);
  const text = (packet: TracedPacket) =>
    json ? `${JSON.stringify(packet)}\n` : printPacket(packet);
  return { add: (packet) => io.stdout(text(packet)), close: () => {} };
}

function openPcap(path: string, snapBytes: number): Sink {
  let file: PcapngFile;
  try {
    file = new PcapngFile(path, snapBytes);
  } catch (error) {
    throw new FailedError(`--pcap ${path}: ${(error as Error).message}`);
  }
  return {
    add: (packet) => {
      const comment = verdictText(packet);
      const { arrived, left, microseconds } = packet;
      const sides = [['in', [arrived]] as const, ['out', left] as const];
      for (const [direction, frames] of sides) {
        for (const frame of frames) {
          const bytes = bytesOf(frame);
          file.add(frame.interface, direction, microseconds, bytes, frame.lengthBytes, comment);
        }
      }
    },
    close: () => file.close(),
  };
}

/** Prints what comes until either side ends it; packets shown and lost. */
async function show(stream: LineStream, sink: Sink, io: ToolIo): Promise<string> {
  let packets = 0;
  let lost = 0;
  for await (const message of stream.messages() as AsyncGenerator<TraceMessage>) {
    switch (message.kind) {
      case 'started':
        io.stderr(`xvs: tracing on ${message.interfaces.join(', ')}\n`);
        break;
      case 'packet':
        packets++;
        sink.add(message);
        // As in "xvs trace | head".
        if (io.isOutputGone?.()) stream.end();
        break;
      case 'lost':
        lost += message.packets;
        break;
      case 'ended':
        if (message.cause === 'unread') io.stderr(UNREAD);
        break;
    }
  }
  return `xvs: ${packets} packets shown, ${lost} packets not shown\n`;
}

export const verb: Verb = {
  help: HELP,
  async run(words, { io, socketPath }) {
    const line = parse(words);
    const sink = openSink(line, io);
    const stream = new LineStream(socketPath, '/v1/trace', line.request);
    const end = () => stream.end();
    process.once('SIGINT', end);
    process.once('SIGTERM', end);
    try {
      io.stderr(await show(stream, sink, io));
    } finally {
      process.off('SIGINT', end);
      process.off('SIGTERM', end);
      sink.close();
    }
    return 0;
  },
};
