/**
 * A traced packet as text: when and where, what came in, what went out, and why.
 *
 *   12:34:56.123456 worker 0
 *     in   eth0  IP 172.25.254.200.51000 > 172.25.254.100.80: Flags [S], seq 1, win 64240, length 0
 *     out  eth1  IP 172.25.254.200.51000 > 192.168.0.10.80: Flags [S], seq 1, win 64240, length 0
 *     forwarded: nat to 192.168.0.10:80, SYN_RECV (connections_created)
 */
import { DROP_MEANINGS, PASS_MEANINGS } from '../../control/reasons';
import { frameText } from '../../control/trace/frameText';
import type { TracedFrame, TracedPacket, TraceVerdict } from '../../control/trace/protocol';

const MEANINGS: Readonly<Record<string, string>> = { ...DROP_MEANINGS, ...PASS_MEANINGS };
const VERDICTS: Readonly<Record<TraceVerdict, string>> = {
  forwarded: 'forwarded',
  dropped: 'dropped',
  host: "given to the host's stack",
  waiting: 'waits',
  taken: 'nothing leaves',
};
const WAITS: Readonly<Record<string, string>> = {
  neighbour_waited: "for the next hop's MAC address",
  fragments_held: 'for the first fragment of its packet',
};

export function bytesOf({ bytes }: TracedFrame): Buffer {
  return Buffer.from(bytes, 'base64');
}

/** The verdict, with what led to it, in one line. */
export function verdictText(packet: TracedPacket): string {
  const { verdict, counters, connection } = packet;
  const others = counters.filter((name) => !Object.hasOwn(MEANINGS, name) && !WAITS[name]);
  const why = [
    ...counters.flatMap((name) => (MEANINGS[name] ? `${name}: ${MEANINGS[name]}` : [])),
    ...(connection === null
      ? []
      : [`${connection.method} to ${connection.real}, ${connection.state}`]),
  ];
  const waits = counters.flatMap((name) => WAITS[name] ?? []);
  const head = [VERDICTS[verdict], ...waits].join(' ');
  const said = why.length > 0 ? `: ${why.join('; ')}` : '';
  return `${head}${said}${others.length > 0 ? ` (${others.join(', ')})` : ''}`;
}

/** The whole block, with the empty line behind it. */
export function printPacket(packet: TracedPacket): string {
  const { microseconds, worker, arrived, left, leftUnseen } = packet;
  const width = Math.max(...[arrived, ...left].map((frame) => frame.interface.length));
  const line = (direction: string, frame: TracedFrame): string =>
    `  ${direction.padEnd(3)}  ${frame.interface.padEnd(width)}  ${frameText(bytesOf(frame))}\n`;
  const unseen = leftUnseen > 0 ? `  out  ${leftUnseen} more frames, not kept\n` : '';
  return (
    `${timeText(microseconds)} worker ${worker}\n` +
    line('in', arrived) +
    left.map((frame) => line('out', frame)).join('') +
    `${unseen}  ${verdictText(packet)}\n\n`
  );
}

/** Of the day, local, as tcpdump has it. */
function timeText(microseconds: number): string {
  const time = new Date(Math.floor(microseconds / 1000));
  const two = (value: number) => String(value).padStart(2, '0');
  const fraction = String(microseconds % 1_000_000).padStart(6, '0');
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${fraction}`;
}
