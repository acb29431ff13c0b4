/** The border for commands from the admin socket: unknown JSON in, a trusted Command out. */
import { isIPv4, isIPv6 } from 'node:net';
import { z } from 'zod';
import { DirectorError } from './error';
import type { Command } from './protocol';

const port = z.int().min(0).max(65535);
const address = z.string().refine((text) => isIPv4(text) || isIPv6(text), 'no IP address');
const family = z.union([z.literal(4), z.literal(6)]);
const service = z.strictObject({
  family,
  protocol: z.enum(['tcp', 'udp', 'sctp']),
  address,
  port,
  fwmark: z.int().min(0).max(0xffffffff),
});
const server = z.strictObject({ family, address, port });
const serviceSettings = z.strictObject({
  scheduler: z.string().max(15),
  persistentTimeout: z.int().min(0).max(2678400),
  netmask: z.string(),
  onePacket: z.boolean(),
  schedulerFlags: z.tuple([z.boolean(), z.boolean(), z.boolean()]),
  persistenceEngine: z.string().max(15),
});
const serverSettings = z.strictObject({
  method: z.enum(['nat', 'local', 'tunnel', 'dr', 'bypass', 'fullnat']),
  weight: z.int(),
  upperThreshold: z.int(),
  lowerThreshold: z.int(),
  tunnel: z.strictObject({
    type: z.enum(['ipip', 'gue', 'gre']),
    port,
    checksum: z.enum(['nocsum', 'csum', 'remcsum']),
  }),
});
const seconds = z.int().min(0).max(2678400);
const timeouts = z.strictObject({ tcp: seconds, tcpFin: seconds, udp: seconds });
/** Parts of a command, for other requests that carry them. */
export const PARTS = { service, server, serviceSettings, serverSettings, timeouts, address };

const COMMAND = z.discriminatedUnion('command', [
  z.strictObject({
    command: z.enum(['add-service', 'edit-service']),
    service,
    settings: serviceSettings,
  }),
  z.strictObject({ command: z.literal('delete-service'), service }),
  z.strictObject({
    command: z.enum(['add-server', 'edit-server']),
    service,
    server,
    settings: serverSettings,
  }),
  z.strictObject({ command: z.literal('delete-server'), service, server }),
  z.strictObject({
    command: z.enum(['add-local-address', 'delete-local-address']),
    service,
    address,
  }),
  z.strictObject({ command: z.literal('flush') }),
  z.strictObject({ command: z.literal('zero'), service: service.nullable() }),
  z.strictObject({
    command: z.literal('set-timeouts'),
    timeouts,
  }),
]);

/** Throws a DirectorError that names what is wrong. */
export function parseCommand(body: string): Command {
  return parseBody(body, COMMAND, 'command');
}

/** A request's body by its schema; `name` stands for the whole in messages. */
export function parseBody<Output>(body: string, schema: z.ZodType<Output>, name: string): Output {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    throw new DirectorError('ERR_REQUEST', `the body is no JSON: ${(error as Error).message}`);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new DirectorError('ERR_REQUEST', `${issue.path.join('.') || name}: ${issue.message}`);
}
