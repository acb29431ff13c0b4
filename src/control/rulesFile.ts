/**
 * A rules file (xvsadm-save's format) as what it leaves behind: services with their servers, and
 * timeouts. Commands are read by the command line's own grammar, which is handed in.
 */
import { type ServerSpec, type ServiceSpec, serverId, serviceId } from './model';
import { notePlace } from './place';
import type { Command, Timeouts } from './protocol';

export interface RulesProblem {
  /** From 1; 0: unknown. */
  readonly line: number;
  readonly message: string;
}

/** Reads a file in xvsadm-save's format; the grammar is the command line's (src/cli/rules.ts). */
export type RulesParser = (text: string) => {
  readonly commands: readonly Command[];
  /** Line of each command, from 1. */
  readonly lines: readonly number[];
  readonly errors: readonly RulesProblem[];
};

export interface FoldedRules {
  readonly services: ServiceSpec[];
  /** 0: not said. */
  timeouts: Timeouts;
}

interface OpenService {
  readonly spec: ServiceSpec & { readonly servers: ServerSpec[]; localAddresses?: string[] };
  readonly ids: Set<string>;
}

/** The services that the commands of `text` leave behind, and everything that is wrong with it. */
export function foldRules(
  text: string,
  file: string,
  parseRules: RulesParser,
): FoldedRules & { readonly problems: readonly RulesProblem[] } {
  const { commands, lines, errors } = parseRules(text);
  const folded: FoldedRules = { services: [], timeouts: { tcp: 0, tcpFin: 0, udp: 0 } };
  const problems = [...errors];
  const open = new Map<string, OpenService>();
  for (const [at, command] of commands.entries()) {
    const place = { file, line: lines[at] ?? 0 };
    const message = foldCommand(command, place, folded, open);
    if (message !== null) problems.push({ line: place.line, message });
  }
  problems.sort((left, right) => left.line - right.line);
  return { ...folded, problems };
}

/** What is wrong with the command, or null. */
function foldCommand(
  command: Command,
  place: { readonly file: string; readonly line: number },
  folded: FoldedRules,
  open: Map<string, OpenService>,
): string | null {
  if (command.command === 'add-service') {
    const { service, settings } = command;
    const id = serviceId(service);
    if (open.has(id)) return `service ${id} is added twice`;
    const spec = { service, settings, servers: [] };
    open.set(id, { spec, ids: new Set() });
    folded.services.push(spec);
    notePlace(spec, place);
    return null;
  }
  if (command.command === 'add-server') {
    const { service, server, settings } = command;
    const known = open.get(serviceId(service));
    if (known === undefined) return `service ${serviceId(service)}: -a before its -A`;
    const id = serverId(server);
    if (known.ids.has(id)) return `service ${serviceId(service)}: ${id} is added twice`;
    const spec = { server, settings };
    known.ids.add(id);
    known.spec.servers.push(spec);
    notePlace(spec, place);
    return null;
  }
  if (command.command === 'add-local-address') {
    const { service, address } = command;
    const known = open.get(serviceId(service));
    if (known === undefined) return `service ${serviceId(service)}: --add-laddr before its -A`;
    const { spec } = known;
    spec.localAddresses ??= [];
    if (spec.localAddresses.includes(address)) {
      return `service ${serviceId(service)}: local address ${address} is added twice`;
    }
    spec.localAddresses.push(address);
    return null;
  }
  if (command.command === 'set-timeouts') {
    const { tcp, tcpFin, udp } = command.timeouts;
    const old = folded.timeouts;
    folded.timeouts = { tcp: tcp || old.tcp, tcpFin: tcpFin || old.tcpFin, udp: udp || old.udp };
    return null;
  }
  const allowed = 'only -A, -a and --set, and --add-laddr are allowed in a rules file';
  return `command ${command.command}: ${allowed}`;
}
