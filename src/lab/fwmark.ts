/**
 * Lab `fwmark`: HTTP and HTTPS of one VIP as one service by firewall mark, so that the round of the
 * real servers goes over both; first, without the mark, two services, each with a round of its own.
 */
import { Director } from './director';
import { buildDrHosts, CLIENT_ADDRESS, DIRECTOR_ADDRESS, REAL_SERVERS, VIP } from './drTopology';
import type { Lab, LabOptions } from './lab';
import type { Namespace } from './namespace';
import { administer, request, showTable, startDaemon } from './script';

const MARK = '66';
const PORTS = ['80', '443'] as const;
const ROUNDS = 3;
const MARK_RULE = [
  ...['-t', 'mangle', '-A', 'PREROUTING', '-d', VIP, '-p', 'tcp'],
  ...['-m', 'multiport', '--dports', PORTS.join(','), '-j', 'MARK', '--set-mark', MARK],
];

const withServers = (service: readonly string[], port: string): string[][] => [
  ['-A', ...service, '-s', 'rr'],
  ...REAL_SERVERS.map((address) => ['-a', ...service, '-r', `${address}${port}`, '-g']),
];
const TWO_SERVICES = PORTS.flatMap((port) => withServers(['-t', `${VIP}:${port}`], `:${port}`));
const MARKED_SERVICE = withServers(['-f', MARK], '');

/** Who answered `curl VIP; curl -k https://VIP`. */
type Pair = readonly [http: string, https: string];

async function requestPairs(client: Namespace, say: (text: string) => void): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const http = await request(client, say, `http://${VIP}`);
    pairs.push([http, await request(client, say, `https://${VIP}`)]);
  }
  return pairs;
}

/** Two services: in each pair one server answers both, the next pair is the other's. */
export function isEachOwnRound(pairs: readonly Pair[], servers: readonly string[]): boolean {
  return pairs.every(
    ([http, https], index) =>
      servers.includes(http) && http === https && (index === 0 || http !== pairs[index - 1]![0]),
  );
}

/** One service: in each pair one server answers HTTP and the other HTTPS, the same every time. */
export function isCommonRound(pairs: readonly Pair[], servers: readonly string[]): boolean {
  return pairs.every(
    ([http, https]) =>
      servers.includes(http) &&
      servers.includes(https) &&
      http !== https &&
      http === pairs[0]![0] &&
      https === pairs[0]![1],
  );
}

async function run(options: LabOptions): Promise<boolean> {
  const { say } = options;
  say('hosts, cables, certificates and two nginx ...');
  const hosts = await buildDrHosts({ tls: true });
  const { topology, client, webServers } = hosts;
  try {
    say(`  client ${CLIENT_ADDRESS} -- router -- director ${DIRECTOR_ADDRESS}, real servers`);
    say(`  VIP ${VIP} on lo of director and real servers, which do not answer ARP for it`);
    const greetings = webServers.map((server) => server.greeting);
    const director = new Director(topology, hosts.director, { interfaces: [{ name: 'eth0' }] });
    await startDaemon(director, say);
    for (const rule of TWO_SERVICES) await administer(director, say, 'xvsadm', rule);
    const separate = isEachOwnRound(await requestPairs(client, say), greetings);
    let shown = await showTable(director, say);
    say(`two services: HTTP and HTTPS ${separate ? 'of a pair are both answered by one' : 'FAIL'}`);
    await administer(director, say, 'xvsadm', ['-C']);
    await administer(director, say, 'xvs', ['mark', ...MARK_RULE]);
    for (const rule of MARKED_SERVICE) await administer(director, say, 'xvsadm', rule);
    const common = isCommonRound(await requestPairs(client, say), greetings);
    shown = (await showTable(director, say)) && shown;
    say(`mark ${MARK}: HTTP ${common ? 'by one, HTTPS by the other, each time' : 'FAIL'}`);
    const passed = separate && common && shown;
    if (!passed) {
      say(`expected, of ${greetings.join(' and ')}: without the mark one for both, then the`);
      say(`other; with it one for HTTP, the other for HTTPS; the daemon's log:\n${director.log()}`);
    }
    if (options.keep) options.left(topology, director);
    return passed;
  } finally {
    if (!options.keep) topology.close();
  }
}

export const fwmark: Lab = {
  name: 'fwmark',
  title: 'firewall mark: HTTP and HTTPS of one VIP as one service, real certificates',
  run,
};
