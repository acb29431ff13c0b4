/**
 * Lab `nat`: four requests of a client to the VIP, answered by two real servers in turn.
 */
import { Director } from './director';
import type { Lab, LabOptions } from './lab';
import { buildNatHosts, CLIENT_ADDRESS, REAL_SERVERS, VIP } from './natTopology';
import { administer, request, showTable, startDaemon, strictlyAlternate } from './script';

const REQUESTS = 4;
const RULES = [
  ['-A', '-t', `${VIP}:80`, '-s', 'rr'],
  ...REAL_SERVERS.map((address) => ['-a', '-t', `${VIP}:80`, '-r', `${address}:80`, '-m']),
];

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
    await startDaemon(director, say);
    for (const rule of RULES) await administer(director, say, 'xvsadm', rule);
    const answers: string[] = [];
    for (let number = 0; number < REQUESTS; number++) {
      answers.push(await request(client, say, `http://${VIP}`));
    }
    const shown = await showTable(director, say);
    const greetings = webServers.map((server) => server.greeting);
    const passed = strictlyAlternate(answers, greetings) && shown;
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
