/** `xvs explain` at the admin socket: unknown JSON in, an answer out. */
import { isIPv4, isIPv6 } from 'node:net';
import { z } from 'zod';
import { parseBody } from '../command';
import type { Routes } from '../socket';
import { Explainer, type ExplainerOptions } from './explainer';
import { FRAME_BYTES_MAX } from './rehearse';

const PORT_MAX = 65535;
const TTL_MAX = 255;

const address = z
  .string()
  .refine(
    (text) => isIPv4(text) || (isIPv6(text) && !text.includes('%')),
    'an IPv4 or IPv6 address is allowed',
  );
const port = z.int().min(0).max(PORT_MAX);

const TUPLE = z.strictObject({
  protocol: z.enum(['tcp', 'udp', 'sctp']),
  source: address,
  sourcePort: port,
  destination: address,
  destinationPort: port,
  flags: z.string().regex(/^[FSRPAU]{0,6}$/, 'letters of FSRPAU are allowed'),
  lengthBytes: z.int().min(0).max(FRAME_BYTES_MAX),
  ttl: z.int().min(0).max(TTL_MAX),
});

const REQUEST = z
  .strictObject({
    interface: z.string().nullable(),
    tuple: TUPLE.nullable(),
    frame: z
      .string()
      .regex(/^(?:[0-9a-fA-F]{2})*$/, 'pairs of hex digits are allowed')
      .max(2 * FRAME_BYTES_MAX)
      .nullable(),
  })
  .refine(({ tuple, frame }) => (tuple === null) !== (frame === null), 'a tuple or a frame, one');

export function explainRoutes(options: ExplainerOptions): Routes {
  const explainer = new Explainer(options);
  return {
    'POST /v1/explain': (body) => explainer.explain(parseBody(body, REQUEST, 'explain')),
  };
}
