/**
 * `xvs decap`: on a real server without tunnel devices, strips the outer headers of what a director
 * sends through a tunnel, by an XDP program that stays for as long as this command runs. Asks no
 * director.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { addressBytes } from '../../net/address';
import type { Decapsulator } from '../../port/addon';
import type { ToolIo } from '../io';
import { FailedError, LineError, type Verb } from './verb';

/** IANA's for GUE. */
const GUE_PORT = 6080;
const VIPS_MAX = 1024;
const PORTS_MAX = 64;
const PORT_MAX = 65535;
const ONLY_VIPS = 1;
const ANY_VALUE = word(1);

const HELP = `usage: xvs decap INTERFACE [--vip ADDRESS]... [--port PORT]...

Takes the outer headers off ipip, gre and gue packets that come in by INTERFACE and are addressed to
this host, IPv4 or IPv6 in either, and hands the inner packet to the stack as if it had come by the
wire. For real servers of "xvsadm -i" whose kernel has no tunnel devices. In place until it is ended
by SIGINT or SIGTERM; then says what it did.

  --vip ADDRESS   only inner packets to this address; may be given more than once
  --port PORT     UDP port of gue, ${GUE_PORT} unless said; may be given more than once

The virtual addresses have to be on the host (on "lo", not answered for by ARP), and the reverse
path filter must let packets from clients in by INTERFACE (sysctl rp_filter). Outer packets that
came in fragments are left to the kernel. Wrong checksums of gre and gue are dropped; what remote
checksum offload left open is computed here.
`;

interface Line {
  readonly interface: string;
  readonly vips: readonly string[];
  readonly ports: readonly number[];
}

function word(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

function vipOf(text: string): string {
  if (isIPv4(text) || (isIPv6(text) && !text.includes('%'))) return text;
  throw new LineError(`--vip ${text}: an IPv4 or IPv6 address is allowed`);
}

function portOf(text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= PORT_MAX) return port;
  throw new LineError(`--port ${text}: 1 to ${PORT_MAX} are allowed`);
}

/** Both options may stand there more than once, which readOptions does not have. */
function parse(words: readonly string[]): Line {
  const rest: string[] = [];
  const vips = new Set<string>();
  const ports = new Set<number>();
  for (let at = 0; at < words.length; at++) {
    const [, name, joined] = /^--(vip|port)(?:=(.*))?$/s.exec(words[at]!) ?? [];
    if (name === undefined) {
      rest.push(words[at]!);
      continue;
    }
    const value = joined ?? words[++at];
    if (value === undefined) throw new LineError(`--${name}: its value is missing`);
    if (name === 'vip') vips.add(vipOf(value));
    else ports.add(portOf(value));
  }
  const unknown = rest.find((text) => text.startsWith('-'));
  if (unknown !== undefined) {
    throw new LineError(`${unknown}: unknown option; allowed are --vip, --port`);
  }
  if (rest.length !== 1) {
    throw new LineError(`${rest.join(' ') || 'decap'}: one INTERFACE is allowed, and needed`);
  }
  if (vips.size > VIPS_MAX) throw new LineError(`--vip: at most ${VIPS_MAX} are allowed`);
  if (ports.size > PORTS_MAX) throw new LineError(`--port: at most ${PORTS_MAX} are allowed`);
  return { interface: rest[0]!, vips: [...vips], ports: ports.size > 0 ? [...ports] : [GUE_PORT] };
}

/** As native/xsk-napi/bpf has its keys. */
function configure(program: Decapsulator, { vips, ports }: Line): void {
  for (const vip of vips) {
    const key = new Uint8Array(20);
    key.set(addressBytes(vip));
    key[16] = isIPv6(vip) ? 6 : 4;
    program.mapUpdate('vips', key, ANY_VALUE);
  }
  for (const port of ports) program.mapUpdate('gue_ports', word(port), ANY_VALUE);
  program.mapUpdate('settings', word(0), word(vips.length > 0 ? ONLY_VIPS : 0));
}

function report(names: readonly string[], counts: readonly number[]): string {
  const said = names.flatMap((name, at) => {
    const count = counts[at] ?? 0;
    return count > 0 || name.startsWith('decap_') ? [`${name} ${count}`] : [];
  });
  return said.join(', ');
}

function untilEnded(): Promise<void> {
  return new Promise((resolve) => {
    // A watched timer keeps the process: a signal handler alone does not.
    const timer = setInterval(() => {}, 1 << 30);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        clearInterval(timer);
        resolve();
      });
    }
  });
}

async function run(line: Line, io: ToolIo): Promise<number> {
  const { addon } = require('../../port/addon') as typeof import('../../port/addon');
  const name = line.interface;
  let program: Decapsulator | undefined;
  try {
    program = addon.loadDecapsulator();
    configure(program, line);
    const ended = untilEnded();
    const mode = program.attach(name, 'auto');
    const to = line.vips.length > 0 ? line.vips.join(', ') : 'any address';
    const ports = line.ports.join(', ');
    io.stdout(`${name}: strips ipip, gre and gue (port ${ports}) to ${to}; ${mode} XDP\n`);
    await ended;
    io.stdout(`${name}: ${report(addon.DECAP_VERDICTS, program.verdicts())}\n`);
    return 0;
  } catch (error) {
    throw new FailedError(`decap ${name}: ${(error as Error).message}`);
  } finally {
    program?.close();
  }
}

export const verb: Verb = {
  help: HELP,
  run: async (words, { io }) => run(parse(words), io),
};
