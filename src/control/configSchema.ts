/**
 * The shape of the config file: keys, values allowed, defaults. Each leaf's message says what is
 * allowed; config.ts adds key, line and value. The JSON Schema for editors is made from this.
 * What no single key can say (a port that contradicts a method) is config.ts's matter.
 */

import { isIPv4, isIPv6 } from 'node:net';
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { WORKERS_MAX } from '../table/lock';
import { LEVELS } from './log/events';
import { FORMATS } from './log/text';
import { SYSCTLS } from './sysctl';

const TIMEOUT_MAX_SECONDS = 31 * 24 * 3600;
const INT32_MAX = 2 ** 31 - 1;
const SOCKET_PATH_MAX_BYTES = 107;
export const CAPACITY_DEFAULT = 1_048_576;

export function integer(minimum: number, maximum: number, unit = '') {
  const error = `a whole number from ${minimum} to ${maximum}${unit} is allowed`;
  return z.int(error).min(minimum, error).max(maximum, error);
}

function oneOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, `allowed are ${values.join(', ')}`);
}

/** Strict: an unknown key is refused. */
function object<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, 'a mapping of keys to values is allowed');
}

export interface AddressAndPort {
  readonly family: 4 | 6;
  readonly address: string;
  /** null: the text names no port. */
  readonly port: number | null;
}

/** "192.0.2.1:80", "[2001:db8::1]:80", or an address without a port; null otherwise. */
export function parseAddressAndPort(text: string): AddressAndPort | null {
  const [, bracketed, plain = '', digits] = /^(?:\[([^\]]*)\]|([^:]*))(?::([0-9]{1,5}))?$/.exec(
    text,
  ) ?? [text, undefined, text];
  const port = digits === undefined ? null : Number(digits);
  if (port !== null && port > 65535) return null;
  if (bracketed !== undefined) {
    return isIPv6(bracketed) ? { family: 6, address: bracketed, port } : null;
  }
  if (isIPv4(plain)) return { family: 4, address: plain, port };
  return isIPv6(plain) ? { family: 6, address: plain, port } : null;
}

const ADDRESS_ALLOWED = '"192.0.2.1:80" or "[2001:db8::1]:80" is allowed';
const SERVER_ALLOWED = `${ADDRESS_ALLOWED}, without a port the service's`;

function endpoint(allowed: string, portNeeded: boolean) {
  return z.string(allowed).refine((text) => {
    const parsed = parseAddressAndPort(text);
    return parsed !== null && (!portNeeded || parsed.port !== null);
  }, allowed);
}

const LISTEN_ALLOWED = 'ADDRESS:PORT is allowed, as 127.0.0.1:9420';
const SOCKET_ALLOWED = `an absolute path of at most ${SOCKET_PATH_MAX_BYTES} bytes is allowed`;
const NAME_ALLOWED = 'an interface name of 1 to 15 characters is allowed';
const NETMASK_ALLOWED = 'for IPv4 a mask as 255.255.255.0 is allowed, for IPv6 a prefix 1 to 128';

const MARKS_ALLOWED =
  'a list of iptables commands as "-t mangle -A PREROUTING ... -j MARK --set-mark N" is allowed';

const sysctl = object(
  Object.fromEntries(
    Object.entries(SYSCTLS).map(([name, { minimum, maximum }]) => [
      name,
      integer(minimum, maximum).optional(),
    ]),
  ),
).describe("Switches of IPVS, by IPVS's names; what is not set has IPVS's default.");

const LOCAL_ALLOWED = 'a list of addresses of the host is allowed, of the family of the service';

const metrics = z
  .union(
    [
      z.literal('off'),
      object({
        listen: z
          .string(LISTEN_ALLOWED)
          .refine((text) => (parseAddressAndPort(text)?.port ?? 0) > 0, LISTEN_ALLOWED),
      }),
    ],
    'off or { listen: ADDRESS:PORT } is allowed',
  )
  .default({ listen: '127.0.0.1:9420' })
  .describe('Where Prometheus reads metrics, or off.');

const WEB_LISTEN_ALLOWED = 'ADDRESS:PORT is allowed, as 127.0.0.1:9421';

const web = z
  .union(
    [
      z.literal('off'),
      object({
        listen: z
          .string(WEB_LISTEN_ALLOWED)
          .refine((text) => (parseAddressAndPort(text)?.port ?? 0) > 0, WEB_LISTEN_ALLOWED),
        anyAddress: z
          .boolean('true or false is allowed')
          .default(false)
          .describe('Lets listen be other than a loopback address: whoever reaches it may read.'),
      }),
    ],
    'off or { listen: ADDRESS:PORT } is allowed',
  )
  .default('off')
  .describe('Where the web page is, or off.');

const log = object({
  level: oneOf(LEVELS).default('info').describe('What is less is left out; audit lines never are.'),
  format: oneOf(FORMATS)
    .default('auto')
    .describe('auto: for the journal when stderr is its, else text.'),
});

const workers = object({
  count: z
    .union(
      [z.literal('auto'), integer(1, WORKERS_MAX)],
      `auto or a whole number from 1 to ${WORKERS_MAX} is allowed`,
    )
    .default('auto')
    .describe('Worker threads; auto: one for each receive queue.'),
  cpus: z
    .array(integer(0, 1023), 'a list of CPU numbers is allowed')
    .default([])
    .describe('CPUs the workers are pinned to, in order; empty: chosen at start.'),
  mode: oneOf(['busy', 'adaptive', 'interrupt'])
    .default('adaptive')
    .describe('busy spins; adaptive spins while there is work; interrupt sleeps between packets.'),
  warmUp: z
    .boolean('true or false is allowed')
    .default(true)
    .describe('Has V8 compile all code before the first frame; false: starts at once, slower.'),
});

const networkInterface = object({
  name: z.string(NAME_ALLOWED).regex(/^[^\s/]{1,15}$/, NAME_ALLOWED),
  xdp: oneOf(['auto', 'native', 'generic'])
    .default('auto')
    .describe('Where the XDP program runs; auto: native, else generic.'),
  zeroCopy: oneOf(['auto', 'on', 'off'])
    .default('auto')
    .describe('Zero-copy sockets; auto: where the driver can.'),
});

const tunnel = object({
  type: oneOf(['ipip', 'gue', 'gre']).default('ipip'),
  port: integer(1, 65535).optional().describe('Destination port, for gue.'),
  checksum: oneOf(['nocsum', 'csum', 'remcsum']).default('nocsum'),
});

const server = object({
  address: endpoint(SERVER_ALLOWED, false),
  method: oneOf(['nat', 'dr', 'tun', 'fullnat']).default('dr').describe('Forwarding method.'),
  weight: integer(0, INT32_MAX).default(1).describe('0: no new connections.'),
  upperThreshold: integer(0, INT32_MAX).default(0).describe('Most connections; 0: no limit.'),
  lowerThreshold: integer(0, INT32_MAX).default(0).describe('An overloaded server is used again.'),
  tunnel: tunnel.optional(),
});

export const serviceSchema = object({
  tcp: endpoint(ADDRESS_ALLOWED, true).optional(),
  udp: endpoint(ADDRESS_ALLOWED, true).optional(),
  sctp: endpoint(ADDRESS_ALLOWED, true).optional(),
  fwmark: integer(1, 2 ** 32 - 1).optional(),
  ipv6: z
    .boolean('true or false is allowed')
    .optional()
    .describe('With fwmark: the mark of IPv6 packets.'),
  scheduler: z
    .string("a scheduler's name is allowed")
    .regex(/^[a-z]{1,15}$/, "a scheduler's name is allowed")
    .default('wlc'),
  persistent: integer(0, TIMEOUT_MAX_SECONDS, ' seconds')
    .default(0)
    .describe('Seconds a client stays with its server; 0: not persistent.'),
  netmask: z
    .union(
      [z.string().refine((text) => isIPv4(text), NETMASK_ALLOWED), integer(1, 128)],
      NETMASK_ALLOWED,
    )
    .optional()
    .describe('Clients within one mask share their persistence.'),
  onePacket: z.boolean('true or false is allowed').default(false),
  schedulerFlags: z
    .array(integer(1, 3), 'a list of flag numbers 1 to 3 is allowed')
    .default([])
    .describe('1: fallback, 2: port (of sh and mh).'),
  persistenceEngine: z.string('the name of a persistence engine is allowed').default(''),
  servers: z.array(server, 'a list of servers is allowed').default([]),
  localAddresses: z
    .array(
      z.string(LOCAL_ALLOWED).refine((text) => isIPv4(text) || isIPv6(text), LOCAL_ALLOWED),
      LOCAL_ALLOWED,
    )
    .default([])
    .describe('What connections to servers with method fullnat come from, in turn.'),
});

export const configSchema = object({
  socket: z
    .string(SOCKET_ALLOWED)
    .refine(
      (path) => isAbsolute(path) && Buffer.byteLength(path) <= SOCKET_PATH_MAX_BYTES,
      SOCKET_ALLOWED,
    )
    .default('/run/xvs/xvs.sock')
    .describe('The admin socket, the one door for every tool.'),
  metrics,
  web,
  log: log.prefault({}).describe('The log on stderr. A reload takes changes over.'),
  workers: workers.prefault({}),
  interfaces: z
    .array(networkInterface, 'a list of interfaces is allowed')
    .min(1, 'at least one interface is needed')
    .describe('Queue i of every interface goes to worker i.'),
  connections: object({
    capacity: integer(1024, 16_777_215).default(CAPACITY_DEFAULT),
  })
    .prefault({})
    .describe('The connection table; its memory is taken at start.'),
  timeouts: object({
    tcp: integer(1, TIMEOUT_MAX_SECONDS, ' seconds').default(900),
    tcpfin: integer(1, TIMEOUT_MAX_SECONDS, ' seconds').default(120),
    udp: integer(1, TIMEOUT_MAX_SECONDS, ' seconds').default(300),
  })
    .prefault({})
    .describe('Seconds a connection without packets is kept.'),
  sysctl: sysctl.default({}),
  rules: z
    .string('the path of a file in the format of xvsadm-save is allowed')
    .min(1, 'the path of a file in the format of xvsadm-save is allowed')
    .optional()
    .describe('Services from a file in the format of xvsadm-save.'),
  marks: z
    .array(z.string(MARKS_ALLOWED), MARKS_ALLOWED)
    .default([])
    .describe('Firewall marks in iptables syntax, for services by mark.'),
  services: z
    .array(serviceSchema, 'a list of services is allowed')
    .default([])
    .describe('Virtual services; those of rules come first.'),
});

export type RawConfig = z.output<typeof configSchema>;
export type RawService = RawConfig['services'][number];
export type RawServer = RawService['servers'][number];

/** JSON Schema of the file as it is written (defaults not yet applied). */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(configSchema, { io: 'input' });
  return { title: 'xvs config file', ...schema };
}
