/** What the running daemon tells, in two samples, and what it makes worth a second look. */
import { connect } from 'node:net';
import type { ConnectionCounts, ConnectionList, MarkList, ServiceList } from '../../protocol';
import type { DaemonFacts, ServerConnections, Setup } from '../facts';
import { serverId, serversOf } from '../names';
import type { DaemonState } from '../state';
import { readReversePathDrops } from './procfs';
import { setupOfDaemon } from './setup';

/** Longer than a real server takes to answer. */
const WAITING_SECONDS_MIN = 3;
const WAITING = 'SYN_RECV';
const WAITING_MAX = 10_000;
const CONNECT_MS = 1500;
const CONNECTS_MAX = 32;

/** GET of a path of the admin socket. */
export type Ask = (path: string) => Promise<unknown>;

export interface FirstLook {
  readonly setup: Setup;
  readonly state: DaemonState;
  readonly reversePathDrops: number;
}

export async function lookFirst(ask: Ask): Promise<FirstLook> {
  const state = (await ask('/v1/doctor')) as DaemonState;
  const reversePathDrops = readReversePathDrops();
  const { services } = (await ask('/v1/services')) as ServiceList;
  const { rules } = (await ask('/v1/marks')) as MarkList;
  return { setup: setupOfDaemon(state, services, rules), state, reversePathDrops };
}

export async function lookAgain(ask: Ask, first: FirstLook): Promise<DaemonFacts> {
  const connections = await readConnections(ask);
  return {
    before: first.state,
    after: (await ask('/v1/doctor')) as DaemonState,
    reversePathDropsBefore: first.reversePathDrops,
    connections,
    reachable: await tryServers(first.setup, connections),
  };
}

/** Of each real server with connections that wait: how many, and whether others went on since. */
async function readConnections(ask: Ask): Promise<Map<string, ServerConnections>> {
  const query = `state=${WAITING}&older=${WAITING_SECONDS_MIN}&limit=${WAITING_MAX}`;
  const { connections } = (await ask(`/v1/connections?${query}`)) as ConnectionList;
  const waiting = new Map<string, { count: number; oldest: number }>();
  for (const { family, real, realPort, ageSeconds } of connections) {
    const server = serverId({ family, address: real, port: realPort });
    const { count, oldest } = waiting.get(server) ?? { count: 0, oldest: 0 };
    waiting.set(server, { count: count + 1, oldest: Math.max(oldest, ageSeconds) });
  }
  const found = new Map<string, ServerConnections>();
  for (const [server, { count, oldest }] of [...waiting].slice(0, CONNECTS_MAX)) {
    const since = `server=${encodeURIComponent(server)}&younger=${Math.ceil(oldest)}&count=state`;
    const { groups } = (await ask(`/v1/connections?${since}`)) as ConnectionCounts;
    const progressed = groups
      .filter(({ key }) => key !== WAITING)
      .reduce((sum, { connections: some }) => sum + some, 0);
    found.set(server, { waiting: count, progressed });
  }
  return found;
}

/** Whether real servers whose clients wait take a TCP connection of this host's own. */
async function tryServers(
  setup: Setup,
  connections: ReadonlyMap<string, ServerConnections>,
): Promise<Map<string, boolean>> {
  const doubtful = serversOf({ setup }).filter(
    ({ server, service }) =>
      (server.method === 'nat' || server.method === 'fullnat') &&
      (service.key.protocol === 'tcp' || service.key.fwmark !== 0) &&
      server.port !== 0 &&
      connections.has(serverId(server)),
  );
  const answers = await Promise.all(
    doubtful
      .slice(0, CONNECTS_MAX)
      .map(async ({ server }) => [serverId(server), await takes(server)] as const),
  );
  return new Map(answers);
}

function takes({ address, port }: { address: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(CONNECT_MS, () => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}
