/**
 * Lab `nat`: four requests of a client to the VIP, answered by two real servers in turn.
 */
import { Director } from './director';
import type { Lab, LabOptions } from './lab';
import { buildNatHosts, CLIENT_ADDRESS, REAL_SERVERS, VIP } from './natTopology';

const REQUESTS = 4;
const RULES = [
  ['-A', '-t', `${VIP}:80`, '-s', 'rr'],
  ...REAL_SERVERS.map((address) => ['-a', '-t', `${VIP}:80`, '-r', `${address}:80`, '-m']),
];

/** True when every server answered, always in the same turn, and nobody else did. */
export function strictlyAlternate(answers: readonly string[], servers: readonly string[]): boolean {
  const round = answers.slice(0, servers.length);
  return (
    servers.every((server) => round.includes(server)) &&
    answers.every((answer, index) => answer === round[index % servers.length])
  );
}

async function run(options: LabOptions): Promise<boolean> {
  const { say } = options;
  say('hosts, cables and two nginx ...');
  const { topology, client, director: host, webServers } = await buildNatHosts();
  try {
    say(`  client ${CLIENT_ADDRESS} -- ${VIP} director 192.168.0.100 -- real servers`);
    for (const server of webServers) say(`  ${server.greeting}, gateway 192.168.0.100`);
    const director = new Director(topology, host, {
      interfaces: [{ name: 'eth0' }, { name: 'eth1' }],
    });
    say('director# xvsd --config xvs.yaml');
    await director.start();
    for (const rule of RULES) {
      say(`director# xvsadm ${rule.join(' ')}`);
      const said = await director.xvsadm(rule);
      if (said.status !== 0) throw new Error(`xvsadm ${rule.join(' ')}: ${said.stderr.trim()}`);
    }
    const answers: string[] = [];
    for (let request = 0; request < REQUESTS; request++) {
      const said = await client.run(['curl', '-sS', '--max-time', '5', `http://${VIP}`]);
      answers.push(said.stdout.trim());
      say(`client$ curl http://${VIP}\n${(said.stdout || said.stderr).trim()}`);
    }
    const table = await director.xvsadm(['-Ln']);
    say(`director# xvsadm -Ln\n${(table.stdout + table.stderr).replace(/\n$/, '')}`);
    const greetings = webServers.map((server) => server.greeting);
    const passed = strictlyAlternate(answers, greetings) && table.status === 0;
    if (!passed)
      say(`expected ${greetings.join(', ')} in turn; the daemon's log:\n${director.log()}`);
    if (options.keep) options.left(topology, director);
    return passed;
  } finally {
    if (!options.keep) topology.close();
  }
}

export const nat: Lab = {
  name: 'nat',
  title: 'NAT: requests and replies pass the director, two real servers in turn',
  run,
};
