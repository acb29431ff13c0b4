/** A trace over the admin socket: one line of JSON a message, for as long as both sides want. */
import { z } from 'zod';
import type { Tables } from '../../table/memory';
import { parseBody } from '../command';
import type { Routes } from '../socket';
import type { TraceMessage } from './protocol';
import { Trace } from './session';

const FILTER_LENGTH_MAX = 4096;
/** Headers of what a tunnel carries. */
const SNAP_BYTES_MIN = 64;
const SNAP_BYTES_MAX = 65535;
const SECONDS_MAX = 86_400;
const COUNT_MAX = 1_000_000_000;

const REQUEST = z.strictObject({
  filter: z.string().max(FILTER_LENGTH_MAX),
  snapBytes: z.int().min(SNAP_BYTES_MIN).max(SNAP_BYTES_MAX),
  count: z.int().min(0).max(COUNT_MAX),
  seconds: z.number().min(0).max(SECONDS_MAX),
});

/** `interfaces`: names in slot order. */
export function traceRoutes(
  tables: Tables,
  interfaces: readonly string[],
  trace = new Trace(tables, interfaces),
): Routes {
  return {
    'POST /v1/trace': (body) => linesOf(trace.start(parseBody(body, REQUEST, 'trace'))),
  };
}

/** Nothing lost is an empty piece: no text, but a moment at which a reader's end is noticed. */
async function* linesOf(messages: AsyncGenerator<TraceMessage>): AsyncGenerator<string> {
  for await (const message of messages) {
    const isNothing = message.kind === 'lost' && message.packets === 0;
    yield isNothing ? '' : `${JSON.stringify(message)}\n`;
  }
}
