/**
 * `POST /v1/apply`: all services there shall be, in one request, done by difference and whole or
 * not at all. SIGHUP takes the same way.
 */
import { z } from 'zod';
import { PARTS, parseBody } from './command';
import type { Director } from './director';
import type {
  ApplyRequest,
  ApplyResult,
  ChangeCounts,
  Command,
  StartupSettings,
  Timeouts,
} from './protocol';

const REQUEST = z.strictObject({
  services: z.array(
    z.strictObject({
      service: PARTS.service,
      settings: PARTS.serviceSettings,
      servers: z.array(z.strictObject({ server: PARTS.server, settings: PARTS.serverSettings })),
    }),
  ),
  timeouts: PARTS.timeouts,
  startup: z.record(z.string(), z.string()),
  dryRun: z.boolean(),
});

/** Throws a DirectorError that names what is wrong. */
export function parseApplyRequest(body: string): ApplyRequest {
  return parseBody(body, REQUEST, 'request');
}

function countOf(plan: readonly Command[], what: 'service' | 'server'): ChangeCounts {
  const count = (verb: string): number =>
    plan.filter(({ command }) => command === `${verb}-${what}`).length;
  return { added: count('add'), edited: count('edit'), removed: count('delete') };
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

/** Throws a DirectorError and changes nothing when any of it cannot be done. */
export function applyWhole(
  director: Director,
  request: ApplyRequest,
  running: StartupSettings,
): ApplyResult {
  const planned = director.plan(request.services);
  const along = removedAlong(planned, director);
  const plan = request.dryRun ? planned : director.apply(request.services);
  const servers = countOf(plan, 'server');
  return {
    services: countOf(plan, 'service'),
    servers: { ...servers, removed: servers.removed + along },
    timeouts: applyTimeouts(director, request),
    needsRestart: Object.keys(request.startup).filter(
      (key) => request.startup[key] !== running[key],
    ),
    plan: request.dryRun ? plan : [],
  };
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
