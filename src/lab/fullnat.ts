/**
 * Lab `fullnat`: real servers whose gateway is not the director, on another port than the service.
 * They see the director's local addresses; a TCP option tells them the client's own. What passes
 * is captured at the servers.
 */
import { Capture } from './capture';
import { Director } from './director';
import { addressAt, DESTINATION_AT, ETHERNET_BYTES, SOURCE_AT } from './frame';
import {
  buildFullnatHosts,
  CLIENT_ADDRESS,
  type FullnatHosts,
  GATEWAY,
  LOCAL_ADDRESSES,
  REAL_PORT,
  REAL_SERVERS,
  VIP,
} from './fullnatTopology';
import type { Lab, LabOptions } from './lab';
import type { CapturedFrame } from './pcap';
import { administer, request, showTable, startDaemon, strictlyAlternate } from './script';

const REQUESTS = 4;
const SERVICE = ['-t', `${VIP}:80`];
const RULES = [
  ['-A', ...SERVICE, '-s', 'rr'],
  ...LOCAL_ADDRESSES.map((address) => ['--add-laddr', ...SERVICE, '-z', address]),
  ...REAL_SERVERS.map((address) => [
    ...['-a', ...SERVICE, '-r', `${address}:${REAL_PORT}`, '--fullnat'],
  ]),
];

/** Byte offsets in a TCP header (RFC 9293). */
const TCP_BYTES_MIN = 20;
const DATA_OFFSET_AT = 12;
const TOA_KIND = 254;
const TOA_BYTES = 8;

/** The client as a frame's TOA option names it. */
export interface Named {
  readonly address: string;
  readonly port: number;
}

export interface Verdict {
  /** Connections that real servers saw, by the director's addresses. */
  readonly seen: ReadonlyMap<string, number>;
  /** Clients that TOA named, one a connection. */
  readonly named: readonly Named[];
  /** What should not be; empty when all is well. */
  readonly faults: readonly string[];
}

const portAt = (bytes: Uint8Array, at: number) => (bytes[at]! << 8) | bytes[at + 1]!;

/** Offset of the TCP header, behind whatever IP header there is. */
function tcpAt(bytes: Uint8Array): number {
  return ETHERNET_BYTES + (bytes[ETHERNET_BYTES]! & 15) * 4;
}

/** The client in a frame's TOA option; null when it has none. */
export function toaOf(bytes: Uint8Array): Named | null {
  const tcp = tcpAt(bytes);
  const end = tcp + (bytes[tcp + DATA_OFFSET_AT]! >> 4) * 4;
  let at = tcp + TCP_BYTES_MIN;
  while (at + 1 < end) {
    const kind = bytes[at]!;
    if (kind === 0) return null;
    if (kind === TOA_KIND && bytes[at + 1] === TOA_BYTES) {
      return { port: portAt(bytes, at + 2), address: addressAt(bytes, at + 4) };
    }
    at += kind === 1 ? 1 : Math.max(2, bytes[at + 1]!);
  }
  return null;
}

/** Judges what the real servers' cables heard. */
export function judge(frames: readonly CapturedFrame[]): Verdict {
  const faults = new Set<string>();
  const seen = new Map<string, number>();
  const named = new Map<string, Named>();
  const connections = new Set<string>();
  for (const { bytes } of frames) {
    const [source, destination] = [addressAt(bytes, SOURCE_AT), addressAt(bytes, DESTINATION_AT)];
    if (!(REAL_SERVERS as readonly string[]).includes(destination)) continue;
    if (!(LOCAL_ADDRESSES as readonly string[]).includes(source)) {
      faults.add(`a real server was spoken to by ${source}`);
    }
    const tcp = tcpAt(bytes);
    if (portAt(bytes, tcp + 2) !== REAL_PORT) {
      faults.add(`a request went to port ${portAt(bytes, tcp + 2)}`);
    }
    const connection = `${source}:${portAt(bytes, tcp)} ${destination}`;
    if (!connections.has(connection)) seen.set(source, (seen.get(source) ?? 0) + 1);
    connections.add(connection);
    const client = toaOf(bytes);
    if (client === null) continue;
    if (client.address !== CLIENT_ADDRESS) faults.add(`TOA names ${client.address}`);
    named.set(connection, client);
  }
  if (connections.size === 0) faults.add('no request came to a real server');
  for (const connection of connections) {
    if (!named.has(connection)) faults.add(`no TOA in ${connection}`);
  }
  return { seen, named: [...named.values()], faults: [...faults] };
}

async function listen({ topology, switchHost }: FullnatHosts): Promise<() => Promise<Verdict>> {
  const filter = `ip and tcp port ${REAL_PORT}`;
  const captures = await Promise.all(
    ['web1', 'web2'].map((port) => Capture.start(topology, switchHost, port, filter)),
  );
  return async () => {
    const heard = await Promise.all(captures.map((capture) => capture.stop()));
    return judge(heard.flat());
  };
}

async function run(options: LabOptions): Promise<boolean> {
  const { say } = options;
  say('hosts, cables and two nginx ...');
  const hosts = await buildFullnatHosts();
  const { topology, client, webServers } = hosts;
  try {
    say(`  client ${CLIENT_ADDRESS} -- ${VIP} director ${LOCAL_ADDRESSES.join(', ')}`);
    for (const server of webServers) {
      say(`  ${server.greeting}, port ${REAL_PORT}, gateway ${GATEWAY}: not the director`);
    }
    const interfaces = [{ name: 'eth0' }, { name: 'eth1' }];
    const director = new Director(topology, hosts.director, { interfaces });
    await startDaemon(director, say);
    for (const rule of RULES) await administer(director, say, 'xvsadm', rule);
    const stop = await listen(hosts);
    const answers: string[] = [];
    for (let number = 0; number < REQUESTS; number++) {
      answers.push(await request(client, say, `http://${VIP}`));
    }
    const { seen, named, faults } = await stop();
    const shown = await showTable(director, say);
    const local = await director.xvsadm(['--get-laddr']);
    say(`director# xvsadm --get-laddr\n${local.stdout.replace(/\n$/, '')}`);
    for (const [address, count] of seen) say(`real servers: ${count} connections of ${address}`);
    for (const { address, port } of named) say(`real servers: TOA says client ${address}:${port}`);
    for (const fault of faults) say(`real servers: ${fault}`);
    const greetings = webServers.map((server) => server.greeting);
    const passed =
      strictlyAlternate(answers, greetings) &&
      faults.length === 0 &&
      named.length === REQUESTS &&
      shown;
    if (!passed) {
      say(`expected ${greetings.join(', ')} in turn; the daemon's log:\n${director.log()}`);
    }
    if (options.keep) options.left(topology, director);
    return passed;
  } finally {
    if (!options.keep) topology.close();
  }
}

export const fullnat: Lab = {
  name: 'fullnat',
  title: 'FULLNAT: servers behind another gateway see local addresses, and the client by TOA',
  run,
};
