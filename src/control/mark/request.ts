/** The border for mark commands from the admin socket: unknown JSON in, a trusted one out. */
import { z } from 'zod';
import { parseBody } from '../command';
import type { MarkCommand } from '../protocol';

const RULES_MAX = 1024;
const RULE_LENGTH_MAX = 4096;

const family = z.union([z.literal(4), z.literal(6)]);
const rules = z.array(z.string().max(RULE_LENGTH_MAX)).min(1).max(RULES_MAX);
const number = z.int().min(1);

const COMMAND = z.discriminatedUnion('operation', [
  z.strictObject({ operation: z.enum(['append', 'delete']), family, rules }),
  z.strictObject({ operation: z.literal('insert'), family, position: number, rules }),
  z.strictObject({ operation: z.literal('delete-number'), family, number }),
  z.strictObject({ operation: z.literal('flush'), family: family.nullable() }),
]);

/** Throws a DirectorError that names what is wrong. */
export function parseMarkCommand(body: string): MarkCommand {
  return parseBody(body, COMMAND, 'mark command');
}
