/**
 * What of the kernel's routing xvs can mirror: turns a dump of routes into the tables that
 * RouteTable paints, and says what it has to leave out. Pure functions.
 *
 * Mirrored are the tables of the three default policy rules (local, main, default). A kernel
 * lookup asks them in that order; within a table the longest prefix wins, then the lowest
 * priority, then the first.
 */

import {
  ROUTE_LOCAL,
  ROUTE_THROW,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  type Route,
} from '../table/route';
import {
  AF_INET,
  ipv4Word,
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

/** The order of painting: the table asked first comes last. */
const TABLES = [TABLE_DEFAULT, TABLE_MAIN, TABLE_LOCAL] as const;

/** Priorities of the rules every kernel starts with. */
const DEFAULT_RULES: Readonly<Record<number, number>> = {
  [TABLE_LOCAL]: 0,
  [TABLE_MAIN]: 32766,
  [TABLE_DEFAULT]: 32767,
};

export interface MirroredRoutes {
  /** default, main, local. */
  readonly tables: readonly (readonly Route[])[];
  /** What is not mirrored, in words for the log. */
  readonly warnings: readonly string[];
}

/** "10.1.2.0/24" of a route. */
export function prefixText(route: RouteMessage): string {
  const bytes = route.destination.length === 0 ? new Uint8Array(4) : route.destination;
  return `${bytes.join('.')}/${route.prefixLength}`;
}

/** IPv4 address as text. */
export function ipv4Text(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** Whether a route is one that may be mirrored at all. */
export function isMirrored(route: RouteMessage): boolean {
  return (
    route.family === AF_INET &&
    (TABLES as readonly number[]).includes(route.table) &&
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
 * The kernel's routes as RouteTable takes them. `slotOf` tells the interface slot of an ifindex,
 * -1 for an interface that xvs does not serve.
 */
export function mirrorRoutes(
  messages: readonly RouteMessage[],
  slotOf: (interfaceIndex: number) => number,
): MirroredRoutes {
  const remarks = new Remarks();
  const chosen = new Map<string, RouteMessage>();
  for (const route of messages) {
    if (!isMirrored(route) || (route.flags & RTNH_F_DEAD) !== 0) {
      continue;
    }
    if (route.tos !== 0) {
      remarks.add('it is for one type of service only and is not mirrored', prefixText(route));
      continue;
    }
    const key = `${route.table} ${prefixText(route)}`;
    const known = chosen.get(key);
    if (known === undefined || route.priority < known.priority) {
      chosen.set(key, route);
    }
  }
  const tables: Route[][] = TABLES.map(() => []);
  for (const route of chosen.values()) {
    if (route.hops > 1) {
      remarks.add('of a multipath route only the first usable hop is used', prefixText(route));
    }
    if (route.beyond !== '') {
      remarks.add(`it has ${route.beyond}: the host forwards such frames`, prefixText(route));
    }
    tables[(TABLES as readonly number[]).indexOf(route.table)]!.push({
      destination: ipv4Word(route.destination),
      prefixLength: route.prefixLength,
      kind: kindOf(route.type),
      interfaceSlot: route.beyond === '' ? slotOf(route.index) : -1,
      gateway: ipv4Word(route.gateway),
      preferredSource: ipv4Word(route.preferredSource),
      mtu: route.mtu,
    });
  }
  return { tables, warnings: remarks.lines() };
}

/** What the policy rules do that the mirror does not follow. */
export function ruleWarnings(rules: readonly RuleMessage[]): string[] {
  const warnings: string[] = [];
  const found = new Set<number>();
  for (const rule of rules) {
    if (rule.family !== AF_INET) {
      continue;
    }
    if (rule.matchesAll && DEFAULT_RULES[rule.table] === rule.priority) {
      found.add(rule.table);
    } else {
      warnings.push(
        `policy rule with priority ${rule.priority} (table ${rule.table}) is not mirrored: ` +
          'xvs follows the tables local, main and default only',
      );
    }
  }
  for (const table of TABLES) {
    if (!found.has(table)) {
      warnings.push(
        `the default policy rule for table ${table} (priority ${DEFAULT_RULES[table]}) is not ` +
          'there: xvs follows that table all the same',
      );
    }
  }
  return warnings;
}
