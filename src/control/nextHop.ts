/**
 * Keeps the NextHopTable equal to what the kernel knows: links, own addresses, routes, neighbours.
 *
 * Two rtnetlink sockets: one for notifications, one for dumps and requests. Neighbour and link
 * notifications are applied as they come. A notification about routes or addresses, or about a
 * link that changed, only marks the routes: they are dumped anew a few milliseconds later, since
 * the kernel drops IPv4 routes without a word when a link goes down or an address is removed. A
 * slow dump (a full BGP table) makes the next one wait in proportion. After an overrun (ENOBUFS)
 * everything is dumped anew.
 *
 * IPv4 now; IPv6 takes the groups and dumps of its own family and second tables.
 */

import { LINKS_MAX, type Link } from '../table/link';
import type { NextHopTable } from '../table/nextHop';
import { isMirrored, mirrorRoutes, ruleWarnings } from './kernelRoutes';
import { type Log, NeighbourMirror } from './neighbourMirror';
import {
  type AddressMessage,
  AF_INET,
  GROUP_IPV4_ADDRESS,
  GROUP_IPV4_ROUTE,
  GROUP_IPV4_RULE,
  GROUP_LINK,
  GROUP_NEIGHBOUR,
  IFF_RUNNING,
  IFF_UP,
  ipv4Word,
  type LinkMessage,
  macHigh,
  macLow,
  NETLINK_ROUTE,
  type NeighbourMessage,
  type NetlinkMessage,
  type RouteMessage,
  type RuleMessage,
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

const GROUPS = [GROUP_LINK, GROUP_NEIGHBOUR, GROUP_IPV4_ADDRESS, GROUP_IPV4_ROUTE, GROUP_IPV4_RULE];
/** Notifications are gathered this long before routes are dumped. */
const COALESCE_MS = 5;
/** After a refresh the next one waits at least as long as it took, but no longer than this. */
const REST_MAX_MS = 2000;
const RETRY_MS = 1000;
const TICK_MS = 1000;
const RELEASE_TIMEOUT_MS = 1000;
const RECEIVE_BYTES = 65536;

export interface LinkChange {
  readonly slot: number;
  readonly name: string;
  readonly link: Link;
}

export interface NextHopMirrorOptions {
  readonly addon: NetlinkAddon;
  readonly table: NextHopTable;
  /** Names in slot order, as the configuration lists them. */
  readonly interfaces: readonly string[];
  readonly log: Log;
  /** The host's own IPv4 addresses, ascending: once at start, then at each change. */
  readonly onLocalAddresses?: (addresses: readonly number[]) => void;
  readonly onLinkChange?: (change: LinkChange) => void;
  /** A neighbour became usable: wake workers that hold frames for it. */
  readonly onResolved?: () => void;
}

/** What is to be dumped anew. */
interface Stale {
  links: boolean;
  addresses: boolean;
  routes: boolean;
  neighbours: boolean;
  rules: boolean;
}

const NO_LINK: Link = {
  interfaceIndex: 0,
  macHigh: 0,
  macLow: 0,
  mtu: 0,
  up: false,
  address: 0,
};

export class NextHopMirror {
  private readonly options: NextHopMirrorOptions;
  private readonly table: NextHopTable;
  private readonly log: Log;
  private readonly socket: NetlinkSocket;
  private readonly neighbours: NeighbourMirror;
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
    neighbours: true,
    rules: true,
  };
  /** All interfaces of the host by ifindex. */
  private links = new Map<number, LinkMessage>();
  private addresses: readonly AddressMessage[] = [];
  private localAddresses: readonly number[] | null = null;
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
        this.log('warn', `interface ${name}: there is none of that name now`);
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
      this.log('warn', `netlink notifications: ${what}: reading everything anew`);
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
        this.stale.routes = true;
        break;
      case 'route':
        this.stale.routes ||= isMirrored(message);
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
    const known = this.links.get(message.index);
    if (message.deleted) {
      this.links.delete(message.index);
    } else {
      this.links.set(message.index, message);
    }
    if (message.deleted || known === undefined || differs(known, message)) {
      this.applyLinks();
      this.stale.routes = true;
    }
  }

  private markAll(): void {
    const { stale } = this;
    stale.links = stale.addresses = stale.routes = stale.neighbours = stale.rules = true;
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
          this.log('error', `next hops: ${error}; trying again`);
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
      this.addresses = ofKind(await this.socket.dump('addresses', AF_INET), 'address');
      this.applyLinks();
      this.tellLocalAddresses();
    }
    if (stale.routes) {
      stale.routes = false;
      this.applyRoutes(ofKind(await this.socket.dump('routes', AF_INET), 'route'));
    }
    if (stale.neighbours) {
      stale.neighbours = false;
      await this.refreshNeighbours();
    }
    if (stale.rules) {
      stale.rules = false;
      const rules: RuleMessage[] = ofKind(await this.socket.dump('rules', AF_INET), 'rule');
      this.warn(ruleWarnings(rules));
    }
  }

  private async refreshLinks(): Promise<void> {
    this.linksDumping = true;
    try {
      const links = ofKind(await this.socket.dump('links', 0), 'link');
      this.links = new Map(links.map((link) => [link.index, link]));
    } finally {
      this.linksDumping = false;
    }
    this.applyLinks();
    for (const link of this.links.values()) {
      if (link.linkKind === 'vrf') {
        this.warn([`interface ${link.name} is a VRF: its routes are not mirrored`]);
      }
    }
  }

  private async refreshNeighbours(): Promise<void> {
    this.held = [];
    try {
      const messages = await this.socket.dump('neighbours', AF_INET);
      this.neighbours.replace(ofKind(messages, 'neighbour'));
    } finally {
      const held = this.held ?? [];
      this.held = null;
      for (const message of held) {
        this.neighbours.apply(message);
      }
    }
  }

  /** Brings the link table up to date with what is known of links and addresses. */
  private applyLinks(): void {
    const byName = new Map([...this.links.values()].map((link) => [link.name, link]));
    this.options.interfaces.forEach((name, slot) => {
      const message = byName.get(name);
      const before = this.table.links.interfaceIndex(slot);
      const link = message === undefined ? NO_LINK : this.linkOf(message);
      if (before !== 0 && before !== link.interfaceIndex) {
        this.neighbours.removeInterface(slot);
      }
      if (before !== link.interfaceIndex) {
        this.stale.neighbours = true;
        this.stale.routes = true;
      }
      if (this.table.links.set(slot, link)) {
        this.table.bump();
        this.options.onLinkChange?.({ slot, name, link });
      }
      const master = message === undefined ? undefined : this.links.get(message.master);
      if (master !== undefined) {
        this.warn([
          `interface ${name} belongs to ${master.name}: routes leave by ${master.name}, which ` +
            'xvs does not serve; the host forwards such frames',
        ]);
      }
    });
  }

  private linkOf(message: LinkMessage): Link {
    const own = this.addresses.find((address) => address.index === message.index);
    const both = IFF_UP | IFF_RUNNING;
    return {
      interfaceIndex: message.index,
      macHigh: macHigh(message.mac),
      macLow: macLow(message.mac),
      mtu: message.mtu,
      up: (message.flags & both) === both,
      address: own === undefined ? 0 : ipv4Word(own.address),
    };
  }

  private applyRoutes(messages: readonly RouteMessage[]): void {
    const { tables, warnings } = mirrorRoutes(messages, (index) => this.table.links.slotOf(index));
    this.warn(warnings);
    if (!this.table.replaceRoutes(tables)) {
      const routes = tables.reduce((sum, table) => sum + table.length, 0);
      this.log(
        'error',
        `the kernel's ${routes} routes no longer fit: the last ones that did stay in use ` +
          `(${this.table.routes.routeCount} routes); restart xvsd, which sizes its table anew`,
      );
    }
  }

  private tellLocalAddresses(): void {
    const words = new Set(this.addresses.map((address) => ipv4Word(address.address)));
    const addresses = [...words].sort((a, b) => (a >>> 0) - (b >>> 0));
    if (addresses.join() !== this.localAddresses?.join()) {
      this.localAddresses = addresses;
      this.options.onLocalAddresses?.(addresses);
    }
  }

  private warn(warnings: readonly string[]): void {
    for (const warning of warnings) {
      if (!this.said.has(warning)) {
        this.said.add(warning);
        this.log('warn', warning);
      }
    }
  }
}

/** Whether a link notification says anything that matters here. */
function differs(a: LinkMessage, b: LinkMessage): boolean {
  return (
    ((a.flags ^ b.flags) & (IFF_UP | IFF_RUNNING)) !== 0 ||
    a.mtu !== b.mtu ||
    a.name !== b.name ||
    a.master !== b.master ||
    macHigh(a.mac) !== macHigh(b.mac) ||
    macLow(a.mac) !== macLow(b.mac)
  );
}
