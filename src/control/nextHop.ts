/**
 * Keeps the NextHopTable equal to what the kernel knows: links, own addresses, routes, neighbours.
 *
 * Two rtnetlink sockets: one for notifications, one for dumps and requests. Neighbour and link
 * notifications are applied as they come. A notification about routes or addresses, or about a
 * link that changed, only marks the routes: they are dumped anew a few milliseconds later, since
 * the kernel drops IPv4 routes without a word when a link goes down or an address is removed. A
 * slow dump (a full BGP table) makes the next one wait in proportion. After an overrun (ENOBUFS)
 * everything is dumped anew. Both address families; each has its own routes to be stale.
 */

import type { Address6 } from '../table/address6';
import { LINKS_MAX } from '../table/link';
import type { NextHopTable } from '../table/nextHop';
import type { RouteTable } from '../table/route';
import {
  isMirrored,
  mirrorRoutes,
  mirrorRoutes6,
  type RouteSurroundings,
  ruleWarnings,
} from './kernelRoutes';
import { type LinkChange, LinkMirror } from './linkMirror';
import type { Log } from './log/events';
import { NeighbourMirror } from './neighbourMirror';
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  GROUP_IPV4_ADDRESS,
  GROUP_IPV4_ROUTE,
  GROUP_IPV4_RULE,
  GROUP_IPV6_ADDRESS,
  GROUP_IPV6_ROUTE,
  GROUP_IPV6_RULE,
  GROUP_LINK,
  GROUP_NEIGHBOUR,
  type LinkMessage,
  NETLINK_ROUTE,
  type NeighbourMessage,
  type NetlinkMessage,
  type RouteMessage,
} from './netlink';
import {
  discardAll,
  errorCode,
  type NetlinkAddon,
  type NetlinkHandle,
  NetlinkSocket,
  ofKind,
  receiveAll,
} from './netlinkSocket';
import { OwnAddresses } from './ownAddresses';

const GROUPS = [
  GROUP_LINK,
  GROUP_NEIGHBOUR,
  GROUP_IPV4_ADDRESS,
  GROUP_IPV4_ROUTE,
  GROUP_IPV4_RULE,
  GROUP_IPV6_ADDRESS,
  GROUP_IPV6_ROUTE,
  GROUP_IPV6_RULE,
];
/** Notifications are gathered this long before routes are dumped. */
const COALESCE_MS = 5;
/** After a refresh the next one waits at least as long as it took, but no longer than this. */
const REST_MAX_MS = 2000;
const RETRY_MS = 1000;
const TICK_MS = 1000;
const RELEASE_TIMEOUT_MS = 1000;
const RECEIVE_BYTES = 65536;

export interface NextHopMirrorOptions {
  readonly addon: NetlinkAddon;
  readonly table: NextHopTable;
  /** Names in slot order, as the configuration lists them. */
  readonly interfaces: readonly string[];
  readonly log: Log;
  /** The host's own IPv4 addresses, ascending: once at start, then at each change. */
  readonly onLocalAddresses?: (addresses: readonly number[]) => void;
  /** As onLocalAddresses, the IPv6 addresses: four words each. */
  readonly onLocalAddresses6?: (addresses: readonly Address6[]) => void;
  readonly onLinkChange?: (change: LinkChange) => void;
  /** A neighbour became usable: wake workers that hold frames for it. */
  readonly onResolved?: () => void;
}

/** What is to be dumped anew. */
interface Stale {
  links: boolean;
  addresses: boolean;
  routes: boolean;
  routes6: boolean;
  neighbours: boolean;
  rules: boolean;
}

export class NextHopMirror {
  private readonly options: NextHopMirrorOptions;
  private readonly table: NextHopTable;
  private readonly log: Log;
  private readonly socket: NetlinkSocket;
  private readonly neighbours: NeighbourMirror;
  private readonly links: LinkMirror;
  private readonly events: NetlinkHandle;
  private readonly buffer = new Uint8Array(RECEIVE_BYTES);
  private watcher: { close(): void } | null = null;
  private ticker: NodeJS.Timeout | null = null;
  private timer: NodeJS.Timeout | null = null;
  private refreshing: Promise<void> | null = null;
  private stopping = false;

  private readonly stale: Stale = {
    links: true,
    addresses: true,
    routes: true,
    routes6: true,
    neighbours: true,
    rules: true,
  };
  /** What was told last. */
  private localAddresses: string | null = null;
  private localAddresses6: string | null = null;
  /** Neighbour notifications that came while a dump was under way: they are newer than it. */
  private held: NeighbourMessage[] | null = null;
  private linksDumping = false;
  private readonly said = new Set<string>();
  private readonly counters = { overruns: 0, refreshes: 0 };

  /** Opens the sockets; throws what the addon throws. */
  constructor(options: NextHopMirrorOptions) {
    if (options.interfaces.length > LINKS_MAX) {
      throw new RangeError(`${options.interfaces.length} interfaces: allowed are ${LINKS_MAX}`);
    }
    this.options = options;
    this.table = options.table;
    this.log = options.log;
    this.socket = new NetlinkSocket(options.addon);
    try {
      this.events = options.addon.openNetlink(NETLINK_ROUTE, GROUPS);
    } catch (error) {
      this.socket.close();
      throw error;
    }
    const slots = {
      slotOf: (interfaceIndex: number) => this.table.links.slotOf(interfaceIndex),
      interfaceIndexOf: (slot: number) => this.table.links.interfaceIndex(slot),
    };
    const onResolved = options.onResolved ?? (() => undefined);
    this.neighbours = new NeighbourMirror(this.table, this.socket, slots, this.log, onResolved);
    this.links = new LinkMirror(this.table, options.interfaces, {
      onChange: (change) => options.onLinkChange?.(change),
      onReplaced: (slot, before) => this.forgetInterface(slot, before),
      warn: (warning) => this.warn([warning]),
    });
  }

  /** Resolves when the table holds what the kernel has; rejects with all closed. */
  async start(): Promise<void> {
    this.watchEvents();
    this.refreshing = this.refresh();
    try {
      await this.refreshing;
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.refreshing = null;
    this.options.interfaces.forEach((name, slot) => {
      if (this.table.links.interfaceIndex(slot) === 0) {
        this.log('warn', 'interface_gone', `interface ${name}: there is none of that name now`);
      }
    });
    this.ticker = setInterval(() => this.neighbours.tick(), TICK_MS);
    this.scheduleIfStale();
  }

  /** The workers' doorbell: there are requests for neighbours. */
  takeRequests(): void {
    if (!this.stopping) {
      this.neighbours.takeRequests();
    }
  }

  /** Gives the kernel its neighbours back and closes everything. */
  async stop(): Promise<void> {
    if (this.stopping) {
      return;
    }
    this.stopping = true;
    clearInterval(this.ticker ?? undefined);
    clearTimeout(this.timer ?? undefined);
    this.watcher?.close();
    this.events.close();
    let timeout: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timeout = setTimeout(resolve, RELEASE_TIMEOUT_MS);
    });
    await Promise.race([this.neighbours.release(), patience]);
    clearTimeout(timeout);
    this.socket.close();
    await this.refreshing?.catch(() => undefined);
  }

  /** For metrics. */
  get statistics() {
    return {
      routes: this.table.routes.routeCount,
      routeNodes: this.table.routes.nodeCount,
      routeOverflows: this.table.routes.overflowCount,
      routes6: this.table.routes6.routeCount,
      routeNodes6: this.table.routes6.nodeCount,
      routeOverflows6: this.table.routes6.overflowCount,
      neighbours: this.table.neighbours.usedCount,
      neighbourOverflows: this.table.neighbours.overflowCount,
      requestsLost: this.table.requests.lostCount,
      ...this.counters,
    };
  }

  private readEvents(): void {
    try {
      receiveAll(this.events, this.buffer, (message) => this.takeEvent(message));
    } catch (error) {
      this.counters.overruns++;
      const overrun = errorCode(error) === 'ENOBUFS';
      const what = overrun ? 'more notifications than we took' : `${error}`;
      this.log('warn', 'kernel_reread', `netlink notifications: ${what}: reading everything anew`);
      discardAll(this.events, this.buffer);
      this.markAll();
      this.watchEvents();
    }
    this.scheduleIfStale();
  }

  /** Anew after an error: libuv stops watching an fd that polled as an error (POLLERR). */
  private watchEvents(): void {
    this.watcher?.close();
    this.watcher = this.options.addon.watch(this.events.fd, () => this.readEvents());
  }

  private scheduleIfStale(delayMs = COALESCE_MS): void {
    if (Object.values(this.stale).includes(true)) {
      this.schedule(delayMs);
    }
  }

  private takeEvent(message: NetlinkMessage): void {
    switch (message.kind) {
      case 'neighbour':
        if (this.held === null) {
          this.neighbours.apply(message);
        } else {
          this.held.push(message);
        }
        break;
      case 'link':
        this.takeLink(message);
        break;
      case 'address':
        this.stale.addresses = true;
        this.markRoutes(message.family);
        break;
      case 'route':
        if (isMirrored(message)) {
          this.markRoutes(message.family);
        }
        break;
      case 'rule':
        this.stale.rules = true;
        break;
      default:
    }
  }

  private takeLink(message: LinkMessage): void {
    if (message.family !== 0) {
      return; // a bridge's or an address family's view of the link
    }
    if (this.linksDumping) {
      this.stale.links = true;
      return;
    }
    if (this.links.take(message)) {
      this.stale.routes = this.stale.routes6 = true;
    }
  }

  /** Another interface than before has a slot. */
  private forgetInterface(slot: number, before: number): void {
    if (before !== 0) {
      this.neighbours.removeInterface(slot);
    }
    this.stale.neighbours = true;
    this.stale.routes = this.stale.routes6 = true;
  }

  private markRoutes(family: number): void {
    if (family === AF_INET6) {
      this.stale.routes6 = true;
    } else {
      this.stale.routes = true;
    }
  }

  private markAll(): void {
    const { stale } = this;
    stale.links = stale.addresses = stale.neighbours = stale.rules = true;
    stale.routes = stale.routes6 = true;
  }

  private schedule(delayMs: number): void {
    if (this.timer !== null || this.refreshing !== null || this.stopping) {
      return;
    }
    this.timer = setTimeout(() => {
      this.timer = null;
      const started = performance.now();
      let failed = false;
      this.refreshing = this.refresh().catch((error: unknown) => {
        if (!this.stopping) {
          this.log('error', 'kernel_unread', `next hops: ${error}; trying again`);
          this.markAll();
          failed = true;
        }
      });
      this.refreshing.then(() => {
        this.refreshing = null;
        const rest = Math.min(REST_MAX_MS, performance.now() - started);
        this.scheduleIfStale(failed ? RETRY_MS : Math.max(COALESCE_MS, rest));
      });
    }, delayMs);
  }

  /** Dumps what is stale. What becomes stale meanwhile stays marked. */
  private async refresh(): Promise<void> {
    const { stale } = this;
    this.counters.refreshes++;
    if (stale.links) {
      stale.links = false;
      stale.neighbours = true;
      await this.refreshLinks();
    }
    if (stale.addresses) {
      stale.addresses = false;
      const addresses = await this.socket.dump('addresses', AF_UNSPEC);
      this.links.setAddresses(new OwnAddresses(ofKind(addresses, 'address')));
      this.tellLocalAddresses();
    }
    if (stale.routes) {
      stale.routes = false;
      this.applyRoutes(ofKind(await this.socket.dump('routes', AF_INET), 'route'));
    }
    if (stale.routes6) {
      stale.routes6 = false;
      this.applyRoutes6(ofKind(await this.socket.dump('routes', AF_INET6), 'route'));
    }
    if (stale.neighbours) {
      stale.neighbours = false;
      await this.refreshNeighbours();
    }
    if (stale.rules) {
      stale.rules = false;
      this.warn(ruleWarnings(ofKind(await this.socket.dump('rules', AF_UNSPEC), 'rule')));
    }
  }

  private async refreshLinks(): Promise<void> {
    let links: LinkMessage[];
    this.linksDumping = true;
    try {
      links = ofKind(await this.socket.dump('links', AF_UNSPEC), 'link');
    } finally {
      this.linksDumping = false;
    }
    this.links.replace(links);
  }

  private async refreshNeighbours(): Promise<void> {
    this.held = [];
    try {
      const messages = await this.socket.dump('neighbours', AF_UNSPEC);
      this.neighbours.replace(ofKind(messages, 'neighbour'));
    } finally {
      const held = this.held ?? [];
      this.held = null;
      for (const message of held) {
        this.neighbours.apply(message);
      }
    }
  }

  private applyRoutes(messages: readonly RouteMessage[]): void {
    const { tables, warnings } = mirrorRoutes(messages, this.surroundings);
    this.warn(warnings);
    if (!this.table.replaceRoutes(tables)) {
      this.sayOverflow('IPv4', tables, this.table.routes);
    }
  }

  private applyRoutes6(messages: readonly RouteMessage[]): void {
    const { tables, warnings } = mirrorRoutes6(messages, this.surroundings);
    this.warn(warnings);
    if (!this.table.replaceRoutes6(tables)) {
      this.sayOverflow('IPv6', tables, this.table.routes6);
    }
  }

  private get surroundings(): RouteSurroundings {
    return { slotOf: (index) => this.table.links.slotOf(index), own: this.links.own };
  }

  private sayOverflow(
    version: string,
    tables: readonly (readonly unknown[])[],
    kept: RouteTable,
  ): void {
    const routes = tables.reduce((sum, table) => sum + table.length, 0);
    this.log(
      'error',
      'routes_full',
      `the kernel's ${routes} ${version} routes no longer fit: the last ones that did stay in ` +
        `use (${kept.routeCount} routes); restart xvsd, which sizes its table anew`,
    );
  }

  private tellLocalAddresses(): void {
    const { all4, all6 } = this.links.own;
    if (all4.join() !== this.localAddresses) {
      this.localAddresses = all4.join();
      this.options.onLocalAddresses?.(all4);
    }
    if (all6.join() !== this.localAddresses6) {
      this.localAddresses6 = all6.join();
      this.options.onLocalAddresses6?.(all6);
    }
  }

  private warn(warnings: readonly string[]): void {
    for (const warning of warnings) {
      if (!this.said.has(warning)) {
        this.said.add(warning);
        this.log('warn', 'routing_not_mirrored', warning);
      }
    }
  }
}
