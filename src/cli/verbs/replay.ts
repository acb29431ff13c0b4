/**
 * `xvs replay`: the data plane over a capture, in this process: no director, no network, no root.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { extname } from 'node:path';
import type { Config } from '../../control/config';
import type { ServiceListing } from '../../control/protocol';
import type { Capture } from '../../control/replay/captureFile';
import type { PacketVerdict, ReplayResult } from '../../control/replay/replay';
import { parseRules } from '../rules';
import { FailedError, LineError, readOptions, type Verb } from './verb';

type CaptureFile = typeof import('../../control/replay/captureFile');
type CaptureWriter = typeof import('../../control/replay/captureWriter');

const HELP = `usage: xvs replay IN --config FILE [--out OUT] [--json]

Takes the packets of a capture (pcap or pcapng, Ethernet) through the director's data plane as FILE,
a config file of xvsd, sets it up; writes what would have left to OUT and says what became of each.
It needs neither root nor a running director. Time is the capture's, seeds are fixed: the same input
gives the same output, byte for byte.

  --config FILE  interfaces, services, marks, timeouts and sysctls; nothing else of it is used
  --out OUT      frames that leave, with the time of the packet that made them leave: pcapng, with
                 the interfaces' names, if OUT ends in .pcapng, else pcap
  --json         a line of JSON a packet (number, seconds, interface, lengthBytes, verdict,
                 counters, sent), then one with the sums

What the capture does not say is found by rule. A packet's interface: by its name in a pcapng file,
if FILE has that name; else packets from a real server come in by the last interface of FILE, others
by the first. An interface's MAC: where the first packet went that is to a service, or from a real
server; where that packet is seen with a higher TTL too, who sent it. Packets to other MACs, or sent
by the director itself, are not received. Hosts are where their packets come from; real servers that
never speak are on the last interface and all others on the first, with the MAC 02:00 and their
address, IPv6 folded to four bytes. The director's own addresses are those of the services (with
services by mark, whatever never speaks), its FULLNAT local addresses, or 198.18.0.N and fd00:18::N
on interface N. MTU 1500. Packets that the capture has cut, or of more than 3,686 bytes, are not
received either. The defense of drop_entry and its kin does not run.
`;

function read<Content>(path: string, parse: (file: Buffer) => Content): Content {
  let file: Buffer;
  try {
    file = readFileSync(path);
  } catch (error) {
    throw new FailedError(`${path}: cannot be read: ${(error as Error).message}`);
  }
  try {
    return parse(file);
  } catch (error) {
    if ((error as Error).name === 'CaptureError') throw new FailedError((error as Error).message);
    throw error;
  }
}

/** Throws ConfigError with everything that is wrong with the file. */
function readConfig(path: string): Config {
  const { loadConfig } = require('../../control/config') as typeof import('../../control/config');
  const { checkSpecs } =
    require('../../control/configCheck') as typeof import('../../control/configCheck');
  const config = loadConfig(path, parseRules);
  checkSpecs(path, config.services);
  return config;
}

function replayed(config: Config, capture: Capture): ReplayResult {
  const { Replay } =
    require('../../control/replay/replay') as typeof import('../../control/replay/replay');
  try {
    return new Replay(config, capture).run();
  } catch (error) {
    const { name, message } = error as Error;
    if (name === 'DirectorError' || name === 'RangeError') throw new FailedError(message);
    throw error;
  }
}

function write(path: string, config: Config, { sent }: ReplayResult): void {
  const { formatPcap, formatPcapng } =
    require('../../control/replay/captureWriter') as CaptureWriter;
  const names = config.interfaces.map(({ name }) => name);
  const file = extname(path) === '.pcapng' ? formatPcapng(names, sent) : formatPcap(sent);
  try {
    writeFileSync(path, file);
  } catch (error) {
    throw new FailedError(`${path}: cannot be written: ${(error as Error).message}`);
  }
}

function jsonLines({ packets, counters, services, invented, sent }: ReplayResult): string {
  const lines = packets.map((packet) => `${JSON.stringify(packet)}\n`);
  const sums = { packets: packets.length, sent: sent.length, counters, services, invented };
  return `${lines.join('')}${JSON.stringify(sums)}\n`;
}

function packetLine(packet: PacketVerdict): string {
  const { number, seconds, interface: name, lengthBytes, verdict, sent } = packet;
  const left = sent === 0 ? '' : `, ${sent} sent`;
  return `${number} ${seconds.toFixed(6)} ${name} ${lengthBytes} bytes: ${verdict}${left}\n`;
}

function serviceRows({ services }: ReplayResult): string {
  const rows = services.flatMap((service) => [rowOf(service), ...service.servers.map(serverRow)]);
  return rows.join('');
}

const counts = ({ statistics }: Pick<ServiceListing, 'statistics'>): string => {
  const { connections, inPackets, outPackets, inBytes, outBytes } = statistics;
  const texts = [connections, inPackets, outPackets, inBytes, outBytes];
  return texts.map((count) => String(count).padStart(10)).join('');
};

function nameOf(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

const NAME_WIDTH = 36;

function rowOf(service: ServiceListing): string {
  const { fwmark, protocol, address, port } = service;
  const name = fwmark === 0 ? `${protocol} ${nameOf(address, port)}` : `mark ${fwmark}`;
  return `${name.padEnd(NAME_WIDTH)}${counts(service)}\n`;
}

function serverRow(server: ServiceListing['servers'][number]): string {
  const name = `  -> ${nameOf(server.address, server.port)}`;
  return `${name.padEnd(NAME_WIDTH)}${counts(server)}\n`;
}

function report(result: ReplayResult): string {
  const { packets, counters, sent, invented } = result;
  const titles = ['Conns', 'InPkts', 'OutPkts', 'InBytes', 'OutBytes'];
  const head = `${''.padEnd(NAME_WIDTH)}${titles.map((title) => title.padStart(10)).join('')}\n`;
  const sums = Object.entries(counters).map(([name, count]) => `${name} ${count}\n`);
  const hosts = invented.length === 0 ? '' : `MAC made up for: ${invented.join(', ')}\n`;
  return [
    ...packets.map(packetLine),
    `\n${packets.length} packets, ${sent.length} frames sent\n`,
    hosts,
    `\n${sums.join('')}\n${head}${serviceRows(result)}`,
  ].join('');
}

export const verb: Verb = {
  help: HELP,
  run(words, { io }) {
    const known = { config: 'FILE', out: 'OUT', json: 'flag' };
    const { flags, values, rest } = readOptions(words, known);
    const [input, ...others] = rest;
    if (input === undefined || others.length > 0) {
      throw new LineError(`${rest.join(' ') || 'replay'}: one capture IN is allowed, and needed`);
    }
    const file = values.get('config');
    if (file === undefined) throw new LineError('replay: --config FILE is missing');
    const config = readConfig(file);
    const { readCapture } = require('../../control/replay/captureFile') as CaptureFile;
    const result = replayed(
      config,
      read(input, (bytes) => readCapture(bytes, input)),
    );
    const out = values.get('out');
    if (out !== undefined) write(out, config, result);
    io.stdout(flags.has('json') ? jsonLines(result) : report(result));
    return Promise.resolve(0);
  },
};
