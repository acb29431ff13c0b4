/**
 * Lab `tun`: the director sends requests to real servers of another subnet inside IP packets of its
 * own; the servers unpack them and answer the client past it. What passes is captured on the
 * director's cable and on the servers', and compared byte by byte.
 */
import { Capture } from './capture';
import { Director } from './director';
import {
  addressAt,
  DESTINATION_AT,
  ETHERNET_BYTES,
  hex,
  MAC_BYTES,
  macAt,
  PROTOCOL_AT,
  SOURCE_AT,
  TTL_AT,
  untouched,
} from './frame';
import type { Lab, LabOptions } from './lab';
import type { CapturedFrame } from './pcap';
import { administer, request, showTable, startDaemon, strictlyAlternate } from './script';
import {
  buildTunHosts,
  CLIENT_ADDRESS,
  DIRECTOR_ADDRESS,
  DIRECTOR_MAC,
  REAL_SERVERS,
  ROUTER_DIRECTOR_MAC,
  ROUTER_SERVER_MAC,
  type TunHosts,
  VIP,
} from './tunTopology';

const REQUESTS = 4;
const RULES = [
  ['-A', '-t', `${VIP}:80`, '-s', 'rr'],
  ...REAL_SERVERS.map((address) => ['-a', '-t', `${VIP}:80`, '-r', `${address}:80`, '-i']),
];
const FILTER = 'ip proto 4 or ip proto 6';

/** Where the inner packet begins: the outer header has no options. */
const INNER_AT = 34;
const PROTOCOL_IPIP = 4;

export interface Heard {
  /** On the director's cable. */
  readonly director: readonly CapturedFrame[];
  /** On the cables of the real servers. */
  readonly web1: readonly CapturedFrame[];
  readonly web2: readonly CapturedFrame[];
}

export interface Verdict {
  /** Packets that came to the director, and went on to a real server. */
  readonly tunnelled: number;
  /** Replies of real servers to the client, past the director. */
  readonly replies: number;
  /** What should not be; empty when all is well. */
  readonly faults: readonly string[];
}

const isTunnelled = ({ bytes }: CapturedFrame) => bytes[PROTOCOL_AT] === PROTOCOL_IPIP;
const isFrom = (address: string) => (frame: CapturedFrame) =>
  !isTunnelled(frame) && addressAt(frame.bytes, SOURCE_AT) === address;

/** The frame of an IP packet that begins at `at`, as if it stood alone. */
function alone(frame: Uint8Array, at: number): Uint8Array {
  const total = (frame[at + 2]! << 8) | frame[at + 3]!;
  return Uint8Array.from([...new Uint8Array(ETHERNET_BYTES), ...frame.subarray(at, at + total)]);
}

/** What is wrong with a packet that left the director, beside the one that came. */
function faultsOf(came: Uint8Array, left: Uint8Array): string[] {
  const faults: string[] = [];
  const inner = alone(left, INNER_AT);
  const [from, to] = [addressAt(left, SOURCE_AT), addressAt(left, DESTINATION_AT)];
  if (macAt(left, 0) !== ROUTER_DIRECTOR_MAC) faults.push(`sent to ${macAt(left, 0)}`);
  if (from !== DIRECTOR_ADDRESS || !(REAL_SERVERS as readonly string[]).includes(to)) {
    faults.push(`the outer packet goes from ${from} to ${to}`);
  }
  const source = addressAt(inner, SOURCE_AT);
  if (source !== CLIENT_ADDRESS) faults.push(`the inner packet comes from ${source}`);
  if (inner[TTL_AT] !== came[TTL_AT]! - 1 || left[TTL_AT] !== inner[TTL_AT]) {
    faults.push(`TTL ${came[TTL_AT]} became ${inner[TTL_AT]} inside ${left[TTL_AT]}`);
  }
  if (untouched(alone(came, ETHERNET_BYTES)) !== untouched(alone(left, INNER_AT))) {
    faults.push(`more than TTL and checksum differ:\n  ${hex(came)}\n  ${hex(left)}`);
  }
  return faults;
}

/** Judges what the cables heard of one flow or several. */
export function judge(heard: Heard): Verdict {
  const faults: string[] = [];
  const came = heard.director.filter(isFrom(CLIENT_ADDRESS));
  const left = heard.director.filter(isTunnelled);
  if (came.length === 0) faults.push('no request came to the director');
  if (came.length !== left.length) faults.push(`${came.length} came, ${left.length} left`);
  left.forEach((frame, index) => {
    if (macAt(frame.bytes, MAC_BYTES) !== DIRECTOR_MAC) faults.push('a tunnel leads back');
    const first = came[index];
    if (first !== undefined) faults.push(...faultsOf(first.bytes, frame.bytes));
  });
  const crossed = heard.director.filter(isFrom(VIP)).length;
  if (crossed > 0) faults.push(`${crossed} replies crossed the director`);
  const servers = [...heard.web1, ...heard.web2];
  const contents = (frames: readonly CapturedFrame[]) =>
    frames.map(({ bytes }) => untouched(alone(bytes, ETHERNET_BYTES))).sort();
  const arrived = servers.filter(isTunnelled);
  if (contents(arrived).join() !== contents(left).join()) {
    faults.push(`${left.length} packets left the director, ${arrived.length} others arrived`);
  }
  const replies = servers.filter(
    (frame) =>
      isFrom(VIP)(frame) &&
      addressAt(frame.bytes, DESTINATION_AT) === CLIENT_ADDRESS &&
      macAt(frame.bytes, 0) === ROUTER_SERVER_MAC,
  ).length;
  if (replies === 0) faults.push('no real server answered the client');
  return { tunnelled: left.length, replies, faults };
}

async function listen({ topology, router, switchHost }: TunHosts): Promise<() => Promise<Heard>> {
  const captures = await Promise.all([
    Capture.start(topology, router, 'eth1', FILTER),
    Capture.start(topology, switchHost, 'web1', FILTER),
    Capture.start(topology, switchHost, 'web2', FILTER),
  ]);
  return async () => {
    const [director = [], web1 = [], web2 = []] = await Promise.all(
      captures.map((capture) => capture.stop()),
    );
    return { director, web1, web2 };
  };
}

async function run(options: LabOptions): Promise<boolean> {
  const { say } = options;
  say('hosts, cables, two nginx and xvs decap before each ...');
  const hosts = await buildTunHosts({ finishedChecksums: true });
  const { topology, client, webServers } = hosts;
  try {
    say(`  client ${CLIENT_ADDRESS} -- router -- director ${DIRECTOR_ADDRESS}, VIP ${VIP}`);
    say(`                            \`-- real servers ${REAL_SERVERS.join(', ')}`);
    const director = new Director(topology, hosts.director, { interfaces: [{ name: 'eth0' }] });
    await startDaemon(director, say);
    for (const rule of RULES) await administer(director, say, 'xvsadm', rule);
    const stop = await listen(hosts);
    const answers: string[] = [];
    for (let number = 0; number < REQUESTS; number++) {
      answers.push(await request(client, say, `http://${VIP}`));
    }
    const { tunnelled, replies, faults } = judge(await stop());
    const shown = await showTable(director, say);
    say(`cables: ${tunnelled} packets left in the tunnel, ${replies} replies went past it`);
    for (const fault of faults) say(`cables: ${fault}`);
    if (faults.length === 0) {
      say(`cables: protocol ${PROTOCOL_IPIP}, inside the packet of ${CLIENT_ADDRESS} as it came`);
    }
    const greetings = webServers.map((server) => server.greeting);
    const passed = strictlyAlternate(answers, greetings) && faults.length === 0 && shown;
    if (!passed) {
      say(`expected ${greetings.join(', ')} in turn; the daemon's log:\n${director.log()}`);
    }
    if (options.keep) options.left(topology, director);
    return passed;
  } finally {
    if (!options.keep) topology.close();
  }
}

export const tun: Lab = {
  name: 'tun',
  title: 'tunnels: real servers in another subnet, replies go past the director, two in turn',
  run,
};
