/**
 * Real servers that are the director itself, by its own routes. The host is given their packets as
 * they came, and what it answers meets no worker (it never passes XDP). So there must be nothing to
 * translate: NAT only to the service's own address and port, direct routing and tunnels to any
 * address, no FULLNAT. Others are refused when they are added. An address that becomes the host's
 * own later is warned of, and workers drop the packets (`local_mapped`): addresses come and go.
 *
 * Listings show such a server with its forwarding method, as those of IPVS do: the kernel finds out
 * with each packet where it goes, and "Local" is a method that nobody can ask for.
 */
import { addressWords } from '../net/address';
import type { NextHopTable } from '../table/nextHop';
import type { Director } from './director';
import { DirectorError } from './error';
import { serverId, serviceId } from './model';
import type { Command, ServerKey, ServerSettings, ServiceKey } from './protocol';

type Method = ServerSettings['method'];

/** Would packets have to be translated? Of a service by mark only the packets tell. */
function isTranslated(service: ServiceKey, { address, port }: ServerKey, method: Method): boolean {
  if (method === 'fullnat') return true;
  if (method !== 'nat' || service.fwmark !== 0) return false;
  // Port 0, of either: the client's port stays as it is.
  const mapped = port !== service.port && port !== 0 && service.port !== 0;
  return mapped || address !== service.address;
}

function isOwn(hops: NextHopTable, { family, address }: ServerKey): boolean {
  const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = addressWords(address);
  return family === 4 ? hops.isLocal4(word0) : hops.isLocal6(word0, word1, word2, word3);
}

/** Why a server is of no use. */
function reason(service: ServiceKey, server: ServerKey, method: Method): string {
  const allowed = ['any address of this host with dr or tunnel'];
  if (service.fwmark === 0) {
    const { family, address, port } = service;
    allowed.unshift(`${serverId({ family, address, port })} with nat`);
  }
  return (
    `service ${serviceId(service)}: real server ${serverId(server)}, ${method}: the address is ` +
    `this host's own, whose answers are not translated back; allowed are ${allowed.join(', ')}`
  );
}

/** Throws a DirectorError when it is the director itself and cannot work. */
export function checkLocalServer(
  hops: NextHopTable,
  service: ServiceKey,
  server: ServerKey,
  method: Method,
): void {
  if (!isTranslated(service, server, method) || !isOwn(hops, server)) return;
  throw new DirectorError('ERR_NOT_SUPPORTED', reason(service, server, method));
}

/**
 * The same of all that a plan adds or gives another method. What is there already stays: its
 * address became the host's own later, and its weight may still be changed.
 */
export function checkLocalServers(
  director: Pick<Director, 'tables' | 'find'>,
  plan: readonly Command[],
): void {
  const hops = director.tables.nextHops;
  for (const command of plan) {
    if (command.command !== 'add-server' && command.command !== 'edit-server') continue;
    const { service, server, settings } = command;
    // Looked for last: a plan may edit each of a thousand servers of one service.
    if (!isTranslated(service, server, settings.method) || !isOwn(hops, server)) continue;
    if (command.command === 'edit-server') {
      const id = serverId(server);
      const known = director.find(service)?.servers.find(({ key }) => serverId(key) === id);
      if (known?.settings.method === settings.method) continue;
    }
    checkLocalServer(hops, service, server, settings.method);
  }
}

/** Warns of servers whose address has become the host's own. */
export class LocalServerWatch {
  readonly #warn: (message: string) => void;
  #generation = -1;
  #said = new Set<string>();

  constructor(warn: (message: string) => void) {
    this.#warn = warn;
  }

  /** Each is warned of once, until it is another host again. To be called every few seconds. */
  look(director: Director): void {
    const { nextHops } = director.tables;
    const { generation } = nextHops;
    if (generation === this.#generation) return;
    this.#generation = generation;
    const found = new Set<string>();
    for (const { key: service, servers } of director.services) {
      for (const { key: server, settings } of servers) {
        const { method } = settings;
        if (!isTranslated(service, server, method) || !isOwn(nextHops, server)) continue;
        const message = reason(service, server, method);
        found.add(message);
        if (!this.#said.has(message)) this.#warn(`${message}; its packets are dropped`);
      }
    }
    this.#said = found;
  }
}
