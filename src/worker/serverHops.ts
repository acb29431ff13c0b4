/**
 * The next hops of IPv4 real servers, as a worker last found them, so that a new connection need
 * not ask routes and neighbours anew. A hop holds while nothing has changed since it was found: all
 * changes ever are compared, for the hop's own few bits of them are the same again one day. A slot
 * that was given to another server has another revision.
 */
import type { Tables } from '../table/memory';
import type { NextHopTable } from '../table/nextHop';
import { METHOD_DR, METHOD_NAT, REAL_SERVERS_MAX, type RealServerTable } from '../table/realServer';
import { FAMILY_IPV4 } from './packet';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const [NAT, DR, IPV4] = [METHOD_NAT, METHOD_DR, FAMILY_IPV4];

export class ServerHops {
  private readonly realServers: RealServerTable;
  private readonly nextHops: NextHopTable;
  /** By server slot; pages of what is never asked for are never given out. */
  private readonly hops = new Int32Array(REAL_SERVERS_MAX);
  private readonly revisions = new Int32Array(REAL_SERVERS_MAX);
  private readonly changes = new Int32Array(REAL_SERVERS_MAX);

  constructor(tables: Tables) {
    this.realServers = tables.realServers;
    this.nextHops = tables.nextHops;
  }

  /**
   * Of the server of a new connection whose packets are of `family`: the hop (> 0), or 0 for what
   * the first packet has to find out.
   */
  get(server: number, family: number): number {
    const hop = this.hops[server]!;
    const realServers = this.realServers;
    const isKnown = hop > 0 && this.revisions[server] === realServers.revision(server);
    if (isKnown && this.changes[server] === this.nextHops.changes) {
      return family === IPV4 ? hop : 0;
    }
    return this.find(server, family);
  }

  /** Only what is sent to the server's own address, as it stands in the entry. */
  private find(server: number, family: number): number {
    const realServers = this.realServers;
    const method = realServers.method(server);
    if (family !== IPV4 || realServers.family(server) !== IPV4) return 0;
    if (method !== NAT && method !== DR) return 0;
    const revision = realServers.revision(server);
    // Read first: what changes while the hop is looked for makes it an old one.
    const { changes } = this.nextHops;
    const hop = this.nextHops.resolve(realServers.address4(server));
    if (hop <= 0) return 0;
    this.revisions[server] = revision;
    this.changes[server] = changes;
    this.hops[server] = hop;
    return hop;
  }
}
