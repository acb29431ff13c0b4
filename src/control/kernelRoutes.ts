/**
 * What of the kernel's routing xvs can mirror: turns a dump of routes into the tables that
 * RouteTable paints, and says what it has to leave out. Pure functions.
 *
 * Mirrored are the tables of the default policy rules: local, main and (IPv4) default. A kernel
 * lookup asks them in that order; within a table the longest prefix wins, then the lowest
 * priority, then the first.
 */

import { type HostAddress, isLinkLocal6, NO_ADDRESS6 } from '../table/address6';
import {
  ROUTE_LOCAL,
  ROUTE_THROW,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  type Route,
  type Route6,
} from '../table/route';
import {
  AF_INET,
  AF_INET6,
  addressText,
  hostAddress,
  ipv4Word,
  ipv6Words,
  type RouteMessage,
  RTM_F_CLONED,
  RTN_ANYCAST,
  RTN_LOCAL,
  RTN_THROW,
  RTN_UNICAST,
  RTNH_F_DEAD,
  type RuleMessage,
  TABLE_DEFAULT,
  TABLE_LOCAL,
  TABLE_MAIN,
} from './netlink';
import type { OwnAddresses } from './ownAddresses';

/** The order of painting: the table asked first comes last. IPv6 has no rule for "default". */
const TABLES: readonly number[] = [TABLE_DEFAULT, TABLE_MAIN, TABLE_LOCAL];
const TABLES6: readonly number[] = [TABLE_MAIN, TABLE_LOCAL];

/** Priorities of the rules every kernel starts with. */
const DEFAULT_RULES: Readonly<Record<number, number>> = {
  [TABLE_LOCAL]: 0,
  [TABLE_MAIN]: 32766,
  [TABLE_DEFAULT]: 32767,
};

/** What is asked about interfaces. */
export interface RouteSurroundings {
  /** Interface slot of an ifindex, -1 for an interface that xvs does not serve. */
  readonly slotOf: (interfaceIndex: number) => number;
  /** For routes that name no source address; left out: they take the interface's. */
  readonly own?: OwnAddresses;
}

export interface Mirrored<AnyRoute> {
  /** default (IPv4 only), main, local. */
  readonly tables: readonly (readonly AnyRoute[])[];
  /** What is not mirrored, in words for the log. */
  readonly warnings: readonly string[];
}
export type MirroredRoutes = Mirrored<Route>;
export type MirroredRoutes6 = Mirrored<Route6>;

/** "10.1.2.0/24" or "fd00::/64" of a route. */
export function prefixText(route: RouteMessage): string {
  const none: HostAddress = route.family === AF_INET6 ? NO_ADDRESS6 : 0;
  return `${addressText(hostAddress(route.destination) ?? none)}/${route.prefixLength}`;
}

function tablesOf(family: number): readonly number[] {
  return family === AF_INET6 ? TABLES6 : TABLES;
}

/** Whether a route is one that may be mirrored at all. */
export function isMirrored(route: RouteMessage): boolean {
  return (
    (route.family === AF_INET || route.family === AF_INET6) &&
    tablesOf(route.family).includes(route.table) &&
    (route.flags & RTM_F_CLONED) === 0
  );
}

function kindOf(type: number): number {
  switch (type) {
    case RTN_UNICAST:
      return ROUTE_UNICAST;
    case RTN_LOCAL:
    case RTN_ANYCAST:
      return ROUTE_LOCAL;
    case RTN_THROW:
      return ROUTE_THROW;
    default:
      // blackhole, unreachable, prohibit; broadcast and multicast, which no director forwards to.
      return ROUTE_UNREACHABLE;
  }
}

/** Collects cases of one sort into one line: how many, and the first as an example. */
class Remarks {
  private readonly cases = new Map<string, { first: string; count: number }>();

  add(what: string, example: string): void {
    const known = this.cases.get(what);
    if (known === undefined) {
      this.cases.set(what, { first: example, count: 1 });
    } else {
      known.count++;
    }
  }

  lines(): string[] {
    return [...this.cases].map(([what, { first, count }]) => {
      const others = count > 1 ? ` (and ${count - 1} more)` : '';
      return `route ${first}${others}: ${what}`;
    });
  }
}

/**
 * The smaller the sooner. A link-local prefix belongs to every link at once: without a link named,
 * a served interface's is meant, since nobody could be reached over another.
 */
function rankOf(route: RouteMessage, slotOf: (interfaceIndex: number) => number): number {
  const linkLocal = route.family === AF_INET6 && isLinkLocal6(ipv6Words(route.destination));
  return route.priority + (linkLocal && slotOf(route.index) < 0 ? 2 ** 32 : 0);
}

/** Of all routes to one prefix in one table the one that the kernel uses. */
function chooseRoutes(
  messages: readonly RouteMessage[],
  family: number,
  slotOf: (interfaceIndex: number) => number,
  remarks: Remarks,
): Iterable<RouteMessage> {
  const chosen = new Map<string, RouteMessage>();
  for (const route of messages) {
    if (route.family !== family || !isMirrored(route) || (route.flags & RTNH_F_DEAD) !== 0) {
      continue;
    }
    if (route.tos !== 0) {
      remarks.add('it is for one type of service only and is not mirrored', prefixText(route));
      continue;
    }
    if (route.sourcePrefixLength !== 0) {
      remarks.add('it is for some source addresses only and is not mirrored', prefixText(route));
      continue;
    }
    const key = `${route.table} ${route.prefixLength} ${route.destination}`;
    const known = chosen.get(key);
    if (known === undefined || rankOf(route, slotOf) < rankOf(known, slotOf)) {
      chosen.set(key, route);
    }
  }
  for (const route of chosen.values()) {
    if (route.hops > 1) {
      remarks.add('of a multipath route only the first usable hop is used', prefixText(route));
    }
    if (route.beyond !== '') {
      remarks.add(`it has ${route.beyond}: the host forwards such frames`, prefixText(route));
    }
  }
  return chosen.values();
}

/** The kernel's IPv4 routes as RouteTable takes them. */
export function mirrorRoutes(
  messages: readonly RouteMessage[],
  { slotOf, own }: RouteSurroundings,
): MirroredRoutes {
  const remarks = new Remarks();
  const tables: Route[][] = TABLES.map(() => []);
  for (const route of chooseRoutes(messages, AF_INET, slotOf, remarks)) {
    const gateway = ipv4Word(route.gateway);
    const preferredSource = ipv4Word(route.preferredSource);
    tables[TABLES.indexOf(route.table)]!.push({
      destination: ipv4Word(route.destination),
      prefixLength: route.prefixLength,
      kind: kindOf(route.type),
      interfaceSlot: route.beyond === '' ? slotOf(route.index) : -1,
      gateway,
      preferredSource:
        preferredSource === 0 ? (own?.source4(route.index, gateway) ?? 0) : preferredSource,
      mtu: route.mtu,
    });
  }
  return { tables, warnings: remarks.lines() };
}

/** As mirrorRoutes, for IPv6. */
export function mirrorRoutes6(
  messages: readonly RouteMessage[],
  { slotOf, own }: RouteSurroundings,
): MirroredRoutes6 {
  const remarks = new Remarks();
  const tables: Route6[][] = TABLES6.map(() => []);
  for (const route of chooseRoutes(messages, AF_INET6, slotOf, remarks)) {
    const destination = ipv6Words(route.destination);
    const gateway = ipv6Words(route.gateway);
    const towards = route.gateway.length === 16 ? gateway : destination;
    tables[TABLES6.indexOf(route.table)]!.push({
      destination,
      prefixLength: route.prefixLength,
      kind: kindOf(route.type),
      interfaceSlot: route.beyond === '' ? slotOf(route.index) : -1,
      gateway,
      preferredSource:
        route.preferredSource.length === 16
          ? ipv6Words(route.preferredSource)
          : (own?.source6(route.index, towards, towards === destination) ?? NO_ADDRESS6),
      mtu: route.mtu,
    });
  }
  return { tables, warnings: remarks.lines() };
}

/** What the policy rules of one family (AF_*) do that the mirror does not follow. */
function familyWarnings(rules: readonly RuleMessage[], family: number): string[] {
  const tables = tablesOf(family);
  const version = family === AF_INET6 ? 'IPv6 ' : '';
  const followed = family === AF_INET6 ? 'local and main' : 'local, main and default';
  const warnings: string[] = [];
  const found = new Set<number>();
  for (const rule of rules) {
    const expected = tables.includes(rule.table) && DEFAULT_RULES[rule.table] === rule.priority;
    if (rule.matchesAll && expected) {
      found.add(rule.table);
    } else {
      warnings.push(
        `${version}policy rule with priority ${rule.priority} (table ${rule.table}) is not ` +
          `mirrored: xvs follows the tables ${followed} only`,
      );
    }
  }
  for (const table of tables) {
    if (!found.has(table)) {
      warnings.push(
        `the default ${version}policy rule for table ${table} (priority ` +
          `${DEFAULT_RULES[table]}) is not there: xvs follows that table all the same`,
      );
    }
  }
  return warnings;
}

/** What the policy rules do that the mirror does not follow. */
export function ruleWarnings(rules: readonly RuleMessage[]): string[] {
  const ofFamily = (family: number) => rules.filter((rule) => rule.family === family);
  const rules6 = ofFamily(AF_INET6);
  return [
    ...familyWarnings(ofFamily(AF_INET), AF_INET),
    // A kernel started without IPv6 has none.
    ...(rules6.length === 0 ? [] : familyWarnings(rules6, AF_INET6)),
  ];
}
