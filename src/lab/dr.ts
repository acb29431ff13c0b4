/**
 * Lab `dr`: the director hands requests on by MAC address alone, the real servers answer the
 * client past it. What passes is captured on the switch and compared byte by byte.
 */
import { Capture } from './capture';
import { Director } from './director';
import {
  buildDrHosts,
  CLIENT_ADDRESS,
  DIRECTOR_ADDRESS,
  DIRECTOR_MAC,
  type DrHosts,
  REAL_SERVERS,
  ROUTER_MAC,
  serverMac,
  VIP,
} from './drTopology';
import {
  addressAt,
  DESTINATION_AT,
  hex,
  MAC_BYTES,
  macAt,
  SOURCE_AT,
  TTL_AT,
  untouched,
} from './frame';
import type { Lab, LabOptions } from './lab';
import type { CapturedFrame } from './pcap';
import { administer, request, showTable, startDaemon, strictlyAlternate } from './script';

const REQUESTS = 4;
const RULES = [
  ['-A', '-t', `${VIP}:80`, '-s', 'rr'],
  ...REAL_SERVERS.map((address) => ['-a', '-t', `${VIP}:80`, '-r', `${address}:80`, '-g']),
];
/** Ports of the switch, less the router's: who hears what. */
const PORTS = ['director', 'web1', 'web2'] as const;

export interface Heard {
  readonly director: readonly CapturedFrame[];
  readonly web1: readonly CapturedFrame[];
  readonly web2: readonly CapturedFrame[];
}

export interface Verdict {
  /** Frames that came to the director, and went on to a real server. */
  readonly forwarded: number;
  /** Replies of real servers to the client, past the director. */
  readonly replies: number;
  /** What should not be; empty when all is well. */
  readonly faults: readonly string[];
}

const isFrom = (address: string) => (frame: CapturedFrame) =>
  addressAt(frame.bytes, SOURCE_AT) === address;

/** What is wrong with a frame that left the director, beside the one that came. */
function faultsOf(came: Uint8Array, left: Uint8Array): string[] {
  const faults: string[] = [];
  const target = macAt(left, 0);
  if (macAt(came, MAC_BYTES) !== ROUTER_MAC || macAt(came, 0) !== DIRECTOR_MAC) {
    faults.push(`a request came from ${macAt(came, MAC_BYTES)} to ${macAt(came, 0)}`);
  }
  if (macAt(left, MAC_BYTES) !== DIRECTOR_MAC) faults.push(`sent by ${macAt(left, MAC_BYTES)}`);
  if (target !== serverMac(1) && target !== serverMac(2)) faults.push(`sent to ${target}`);
  if (left[TTL_AT] !== came[TTL_AT]! - 1) {
    faults.push(`TTL ${came[TTL_AT]} became ${left[TTL_AT]}`);
  }
  if (untouched(came) !== untouched(left)) {
    faults.push(`more than MACs, TTL and checksum differ:\n  ${hex(came)}\n  ${hex(left)}`);
  }
  return faults;
}

/** Judges what the switch's ports heard of one flow or several. */
export function judge(heard: Heard): Verdict {
  const faults: string[] = [];
  const requests = heard.director.filter(isFrom(CLIENT_ADDRESS));
  const came = requests.filter(({ bytes }) => macAt(bytes, MAC_BYTES) !== DIRECTOR_MAC);
  const left = requests.filter(({ bytes }) => macAt(bytes, MAC_BYTES) === DIRECTOR_MAC);
  if (came.length === 0) faults.push('no request came to the director');
  if (came.length !== left.length) faults.push(`${came.length} came, ${left.length} left`);
  left.forEach((frame, index) => {
    const first = came[index];
    if (first !== undefined) faults.push(...faultsOf(first.bytes, frame.bytes));
  });
  const crossed = heard.director.filter(isFrom(VIP)).length;
  if (crossed > 0) faults.push(`${crossed} replies crossed the director`);
  const servers = [...heard.web1, ...heard.web2];
  const received = servers.filter(isFrom(CLIENT_ADDRESS)).map(({ bytes }) => hex(bytes));
  const sent = left.map(({ bytes }) => hex(bytes));
  if (received.sort().join() !== sent.sort().join()) {
    faults.push(`${sent.length} frames left the director, ${received.length} others arrived`);
  }
  const replies = servers.filter(
    ({ bytes }) =>
      addressAt(bytes, SOURCE_AT) === VIP &&
      addressAt(bytes, DESTINATION_AT) === CLIENT_ADDRESS &&
      macAt(bytes, 0) === ROUTER_MAC,
  ).length;
  if (replies === 0) faults.push('no real server answered the client');
  return { forwarded: left.length, replies, faults };
}

async function listen({ topology, switchHost }: DrHosts): Promise<() => Promise<Heard>> {
  const captures = await Promise.all(
    PORTS.map((port) => Capture.start(topology, switchHost, port, 'ip and tcp')),
  );
  return async () => {
    const [director = [], web1 = [], web2 = []] = await Promise.all(
      captures.map((capture) => capture.stop()),
    );
    return { director, web1, web2 };
  };
}

async function run(options: LabOptions): Promise<boolean> {
  const { say } = options;
  say('hosts, cables and two nginx ...');
  const hosts = await buildDrHosts({ finishedChecksums: true });
  const { topology, client, webServers } = hosts;
  try {
    say(`  client ${CLIENT_ADDRESS} -- router -- director ${DIRECTOR_ADDRESS}, real servers`);
    say(`  VIP ${VIP} on lo of director and real servers, which do not answer ARP for it`);
    const director = new Director(topology, hosts.director, { interfaces: [{ name: 'eth0' }] });
    await startDaemon(director, say);
    for (const rule of RULES) await administer(director, say, 'xvsadm', rule);
    const stop = await listen(hosts);
    const answers: string[] = [];
    for (let number = 0; number < REQUESTS; number++) {
      answers.push(await request(client, say, `http://${VIP}`));
    }
    const { forwarded, replies, faults } = judge(await stop());
    const shown = await showTable(director, say);
    say(`switch: ${forwarded} requests crossed the director, ${replies} replies went past it`);
    for (const fault of faults) say(`switch: ${fault}`);
    if (faults.length === 0) {
      say('switch: what it handed on differs in the MACs, the TTL and the IP header checksum only');
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

export const dr: Lab = {
  name: 'dr',
  title: 'direct routing: requests pass the director, replies go past it, two real servers in turn',
  run,
};
