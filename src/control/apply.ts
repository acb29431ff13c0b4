/**
 * `POST /v1/apply`: all services there shall be, in one request, done by difference and whole or
 * not at all. SIGHUP takes the same way.
 */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { unpackRequest } from './applyPack';
import { PARTS, parseBody } from './command';
import type { Director } from './director';
import { DirectorError } from './error';
import { formatRule } from './mark/format';
import { checkCount, type Marks } from './mark/marks';
import { parseRules } from './mark/parse';
import { systemPorts } from './mark/portNames';
import type { MarkRule } from './mark/rule';
import { MarkError } from './mark/values';
import type {
  ApplyRequest,
  ApplyResult,
  ChangeCounts,
  Command,
  MarkList,
  StartupSettings,
  SysctlValues,
  Timeouts,
} from './protocol';
import { checkSysctls } from './sysctl';

const INDEX = z.int().min(0);
const REQUEST = z.strictObject({
  serviceSettings: z.array(PARTS.serviceSettings),
  serverSettings: z.array(PARTS.serverSettings),
  services: z.array(
    z.strictObject({
      service: PARTS.service,
      settings: INDEX,
      addresses: z.array(PARTS.address),
      ports: z.array(PARTS.server.shape.port),
      serverSettings: z.array(INDEX),
      localAddresses: z.array(PARTS.address).exactOptional(),
    }),
  ),
  marks: z
    .array(z.strictObject({ family: PARTS.service.shape.family, rule: z.string().max(4096) }))
    .nullable(),
  timeouts: PARTS.timeouts,
  sysctl: z.record(z.string().max(64), z.int()).nullable(),
  startup: z.record(z.string(), z.string()),
  dryRun: z.boolean(),
});

/** Throws a DirectorError that names what is wrong. */
export function parseApplyRequest(body: string): ApplyRequest {
  const packed = parseBody(body, REQUEST, 'request');
  try {
    return unpackRequest(packed);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DirectorError('ERR_REQUEST', error.message, { cause: error });
  }
}

type Subject = 'service' | 'server' | 'local-address';

/** How many commands of each kind. */
function countsOf(plan: readonly Command[]): (what: Subject) => ChangeCounts {
  const counts = new Map<string, number>();
  for (const { command } of plan) counts.set(command, (counts.get(command) ?? 0) + 1);
  const count = (name: string): number => counts.get(name) ?? 0;
  return (what) => ({
    added: count(`add-${what}`),
    edited: count(`edit-${what}`),
    removed: count(`delete-${what}`),
  });
}

/** Servers that go because their service does. */
function removedAlong(plan: readonly Command[], director: Director): number {
  let servers = 0;
  for (const command of plan) {
    if (command.command !== 'delete-service') continue;
    servers += director.find(command.service)?.servers.length ?? 0;
  }
  return servers;
}

/** What an apply changes, and what it is compared with. */
export interface Applied {
  readonly director: Director;
  readonly marks: Marks;
  /** What runs, and only a restart can change. */
  readonly startup: StartupSettings;
}

/** Throws a DirectorError and changes nothing when any of it cannot be done. */
export function applyWhole(applied: Applied, request: ApplyRequest): ApplyResult {
  const { director, marks, startup } = applied;
  const rules = request.marks === null ? null : readMarkRules(request.marks);
  if (request.sysctl !== null) checkSysctls(request.sysctl);
  const planned = director.plan(request.services);
  const along = removedAlong(planned, director);
  const marked = applyMarks(marks, rules, request.dryRun, () => {
    if (!request.dryRun) director.applyPlan(planned);
  });
  const count = countsOf(planned);
  const servers = count('server');
  const localAddresses = count('local-address');
  const localChange = localAddresses.added + localAddresses.removed > 0 ? { localAddresses } : {};
  return {
    services: count('service'),
    servers: { ...servers, removed: servers.removed + along },
    ...localChange,
    marks: marked,
    timeouts: applyTimeouts(director, request),
    sysctl: applySysctls(director, request),
    needsRestart: Object.keys(request.startup).filter(
      (key) => request.startup[key] !== startup[key],
    ),
    plan: request.dryRun ? planned : [],
  };
}

function readMarkRules(texts: MarkList['rules']): readonly MarkRule[] {
  try {
    const rules = texts.flatMap(({ family, rule }) => parseRules(rule, family, systemPorts));
    checkCount(rules);
    return rules;
  } catch (error) {
    if (!(error instanceof MarkError)) throw error;
    throw new DirectorError('ERR_VALUE', error.message, { cause: error });
  }
}

/** One chain after the other: how rules of both mix in a file means nothing. */
function textOf(rules: readonly MarkRule[]): readonly string[] {
  const chain = (family: 4 | 6): string[] =>
    rules.filter((rule) => rule.family === family).map((rule) => `${family} ${formatRule(rule)}`);
  return [...chain(4), ...chain(6)];
}

/** Changes the rules, does `rest`, puts them back when that fails. null: they stay as they are. */
function applyMarks(
  marks: Marks,
  rules: readonly MarkRule[] | null,
  dryRun: boolean,
  rest: () => void,
): number | null {
  const before = readMarkRules(marks.list().rules);
  const wanted = rules ?? before;
  const changes = !isDeepStrictEqual(textOf(wanted), textOf(before));
  if (changes && !dryRun) marks.replace(wanted);
  try {
    rest();
  } catch (error) {
    if (changes && !dryRun) marks.replace(before);
    throw error;
  }
  return changes ? wanted.length : null;
}

function applyTimeouts(director: Director, request: ApplyRequest): Timeouts | null {
  const before = director.timeouts;
  const wanted = request.timeouts;
  const after = {
    tcp: wanted.tcp || before.tcp,
    tcpFin: wanted.tcpFin || before.tcpFin,
    udp: wanted.udp || before.udp,
  };
  const stays =
    after.tcp === before.tcp && after.tcpFin === before.tcpFin && after.udp === before.udp;
  if (stays) return null;
  if (!request.dryRun) director.execute({ command: 'set-timeouts', timeouts: wanted });
  return after;
}

function applySysctls(director: Director, request: ApplyRequest): SysctlValues | null {
  const changes = director.sysctls.differences(request.sysctl ?? {});
  if (Object.keys(changes).length === 0) return null;
  if (!request.dryRun) director.sysctls.set(changes);
  return changes;
}
