/**
 * Words of a command line to a ParsedLine: every option applied from left to right, since some
 * depend on what came before (`-6` on `-f`, a port's name on `-t`, `-r` without a port on the
 * service's). What fits together is validate.ts's matter.
 */
import type { AddressFamily, ForwardingMethodName, ProtocolName } from '../control/protocol';
import {
  type Endpoint,
  parseEndpoint,
  parseInteger,
  parseNetmask,
  parsePrefixLength,
} from './address';
import { canonicalAddress, parseIpv4, parseIpv6 } from './addressText';
import type { NameSource } from './names';
import type { CommandName, OptionName } from './options';
import { EXIT_WORDS, type SyncRole, UsageError, usage } from './request';
import { NO_SCHEDULER_FLAGS, parseSchedulerFlags, type SchedulerFlags } from './schedulerFlags';
import { type OptionFound, WordError, WordReader } from './words';

const PERSISTENCE_DEFAULT_SECONDS = 360;
const TIMEOUT_MAXIMUM_SECONDS = 31 * 24 * 3600;
const INT32_MAXIMUM = 2 ** 31 - 1;
const SCHEDULER_NAME_LENGTH = 15;

/** Everything a line has said, with ipvsadm's defaults for what it has not. Filled in place. */
export class ParsedLine {
  readonly command: CommandName;
  readonly options = new Set<OptionName>();
  family: AddressFamily | null = null;
  protocol: ProtocolName | null = null;
  address = '0.0.0.0';
  port = 0;
  fwmark = 0;
  netmask = '255.255.255.255';
  scheduler = '';
  persistentTimeout = 0;
  onePacket = false;
  persistenceEngine = '';
  schedulerFlagsText = '';
  schedulerFlags: SchedulerFlags = NO_SCHEDULER_FLAGS;
  server: { family: AddressFamily; address: string; port: number } | null = null;
  method: ForwardingMethodName = 'dr';
  weight = 1;
  upperThreshold = 0;
  lowerThreshold = 0;
  tunnelType: 'ipip' | 'gue' | 'gre' = 'ipip';
  tunnelPort = 0;
  tunnelChecksum: 'nocsum' | 'csum' | 'remcsum' = 'nocsum';
  role: SyncRole = 'master';
  syncInterface = '';
  syncId = 0;
  syncGroup = '';
  syncPort = 0;
  syncTtl = 0;
  syncMaxLength = 0;
  timeouts: readonly [number, number, number] = [0, 0, 0];
  localAddress = '';

  constructor(command: CommandName) {
    this.command = command;
  }

  /** Notes that an option was given; each may be given once. */
  give(option: OptionName): void {
    if (this.options.has(option)) throw usage(`multiple '${option}' options specified`);
    this.options.add(option);
  }
}

type Apply = (line: ParsedLine, argument: string, names: NameSource) => void;

function integer(text: string, minimum: number, maximum: number, message: string): number {
  const value = parseInteger(text, minimum, maximum);
  if (value === null) throw usage(message);
  return value;
}

function seconds(text: string, minimum: number): number {
  const message = `invalid timeout value \`${text}' specified`;
  return integer(text, minimum, TIMEOUT_MAXIMUM_SECONDS, message);
}

function applyService(protocol: ProtocolName): Apply {
  return (line, argument, names) => {
    line.give('service-address');
    line.protocol = protocol;
    const endpoint = parseEndpoint(argument, protocol, names);
    if (endpoint === null) throw usage('illegal virtual server address[:port] specified');
    line.family = endpoint.family;
    line.address = endpoint.address;
    if (endpoint.family === 6) line.netmask = '128';
    if (endpoint.port !== null) line.port = endpoint.port;
  };
}

const applyMark: Apply = (line, argument) => {
  line.give('service-address');
  line.family = 4;
  line.protocol = 'tcp';
  const message = `invalid fwmark value \`${argument}' specified`;
  line.fwmark = integer(argument, 1, 2 ** 32 - 1, message);
};

const applyIpv6: Apply = (line) => {
  if (line.fwmark === 0) throw usage('-6 used before -f\n');
  line.family = 6;
  line.address = '::';
  line.netmask = '128';
};

const applyNetmask: Apply = (line, argument, names) => {
  line.give('netmask');
  if (line.family === 6) {
    const length = parsePrefixLength(argument);
    if (length === null) throw usage('illegal ipv6 netmask specified');
    line.netmask = String(length);
    return;
  }
  const mask = parseNetmask(argument, names);
  if (mask === null) throw usage('illegal virtual server persistent mask specified');
  line.netmask = mask;
};

const applyServer: Apply = (line, argument, names) => {
  line.give('real-server');
  const endpoint: Endpoint | null = parseEndpoint(argument, line.protocol, names);
  if (endpoint === null) throw usage('illegal real server address[:port] specified');
  const { family, address, port } = endpoint;
  line.server = { family, address, port: port ?? line.port };
};

function applyMethod(method: ForwardingMethodName): Apply {
  return (line) => {
    line.give('forwarding-method');
    line.method = method;
  };
}

const applyGroup: Apply = (line, argument) => {
  line.give('mcast-group');
  const found = canonicalAddress(argument);
  const isIpv6 = argument.includes(':');
  const multicast = isIpv6
    ? ((parseIpv6(argument)?.[0] ?? 0) & 0xff00) === 0xff00
    : (parseIpv4(argument) ?? 0) >>> 28 === 14;
  if (found === null || !multicast) {
    throw usage(`invalid IPv${isIpv6 ? 6 : 4} mcast-group \`${argument}'`);
  }
  line.syncGroup = found.address;
};

const applyLocalAddress: Apply = (line, argument) => {
  line.give('local-address');
  const found = canonicalAddress(argument.replace(/^\[(.*)\]$/, '$1'));
  if (found === null) {
    throw usage(`illegal local address \`${argument}': an IPv4 or IPv6 address is allowed`);
  }
  line.localAddress = found.address;
};

const applyInterface: Apply = (line, argument) => {
  line.give('interface');
  if (/^[^\s/]{1,15}$/.test(argument)) return;
  throw usage(`illegal interface \`${argument}': a name of 1 to 15 characters is allowed`);
};

const applyTunnelType: Apply = (line, argument) => {
  line.give('tun-type');
  if (argument !== 'ipip' && argument !== 'gue' && argument !== 'gre') {
    throw usage('illegal tunnel type specified');
  }
  line.tunnelType = argument;
};

function applyChecksum(checksum: 'nocsum' | 'csum' | 'remcsum'): Apply {
  return (line) => {
    line.give(`tun-${checksum}`);
    line.tunnelChecksum = checksum;
  };
}

function applyNumber(
  option: OptionName,
  minimum: number,
  maximum: number,
  message: string,
  store: (line: ParsedLine, value: number) => void,
): Apply {
  return (line, argument) => {
    line.give(option);
    store(line, integer(argument, minimum, maximum, message));
  };
}

function applyGiven(option: OptionName): Apply {
  return (line) => line.give(option);
}

const APPLY: Readonly<Record<string, Apply>> = {
  'tcp-service': applyService('tcp'),
  'udp-service': applyService('udp'),
  'sctp-service': applyService('sctp'),
  'fwmark-service': applyMark,
  ipv6: applyIpv6,
  scheduler: (line, argument) => {
    line.give('scheduler');
    line.scheduler = argument.slice(0, SCHEDULER_NAME_LENGTH);
  },
  netmask: applyNetmask,
  'real-server': applyServer,
  masquerading: applyMethod('nat'),
  ipip: applyMethod('tunnel'),
  gatewaying: applyMethod('dr'),
  fullnat: applyMethod('fullnat'),
  weight: applyNumber('weight', 0, INT32_MAXIMUM, 'illegal weight specified', (line, value) => {
    line.weight = value;
  }),
  'u-threshold': applyNumber(
    'u-threshold',
    0,
    INT32_MAXIMUM,
    'illegal u_threshold specified',
    (line, value) => {
      line.upperThreshold = value;
    },
  ),
  'l-threshold': applyNumber(
    'l-threshold',
    0,
    INT32_MAXIMUM,
    'illegal l_threshold specified',
    (line, value) => {
      line.lowerThreshold = value;
    },
  ),
  'mcast-interface': (line, argument) => {
    line.give('mcast-interface');
    line.syncInterface = argument;
  },
  syncid: applyNumber('syncid', 0, 255, 'illegal syncid specified', (line, value) => {
    line.syncId = value;
  }),
  'mcast-group': applyGroup,
  'mcast-port': applyNumber(
    'mcast-port',
    1,
    65535,
    'illegal mcast-port specified',
    (line, value) => {
      line.syncPort = value;
    },
  ),
  'mcast-ttl': applyNumber('mcast-ttl', 1, 255, 'illegal mcast-ttl specified', (line, value) => {
    line.syncTtl = value;
  }),
  'sync-maxlen': applyNumber(
    'sync-maxlen',
    1,
    65507,
    'illegal sync-maxlen specified',
    (line, value) => {
      line.syncMaxLength = value;
    },
  ),
  timeout: applyGiven('timeout'),
  connection: applyGiven('connection'),
  daemon: applyGiven('daemon'),
  stats: applyGiven('stats'),
  rate: applyGiven('rate'),
  thresholds: applyGiven('thresholds'),
  'persistent-conn': applyGiven('persistent-conn'),
  'tun-info': applyGiven('tun-info'),
  nosort: applyGiven('nosort'),
  sort: () => {},
  exact: applyGiven('exact'),
  numeric: applyGiven('numeric'),
  ops: (line) => {
    line.give('ops');
    line.onePacket = true;
  },
  pe: (line, argument) => {
    line.give('pe');
    line.persistenceEngine = argument.slice(0, SCHEDULER_NAME_LENGTH);
  },
  'sched-flags': (line, argument) => {
    line.give('sched-flags');
    line.schedulerFlagsText = argument;
  },
  'tun-type': applyTunnelType,
  'tun-port': applyNumber('tun-port', 1, 65535, 'illegal tunnel port specified', (line, value) => {
    line.tunnelPort = value;
  }),
  'tun-nocsum': applyChecksum('nocsum'),
  'tun-csum': applyChecksum('csum'),
  'tun-remcsum': applyChecksum('remcsum'),
  'local-address': applyLocalAddress,
  interface: applyInterface,
};

function applyPersistent(line: ParsedLine, argument: string | null): void {
  line.give('persistent');
  line.persistentTimeout = argument === null ? PERSISTENCE_DEFAULT_SECONDS : seconds(argument, 1);
}

function syncRole(argument: string | null, message: string): SyncRole {
  if (argument !== 'master' && argument !== 'backup') throw usage(message);
  return argument;
}

/** "Try `xvsadm -h' ...": the answer to a line that does not begin with a command. */
export function tryHelp(program: string): UsageError {
  const text = `Try \`${program} -h' or '${program} --help' for more information.`;
  return new UsageError(text, EXIT_WORDS);
}

function firstOption(reader: WordReader, program: string): OptionFound {
  try {
    const first = reader.next();
    if (first !== null && first.spec.command !== null) return first;
  } catch (error) {
    if (!(error instanceof WordError)) throw error;
  }
  throw tryHelp(program);
}

function takeTimeouts(line: ParsedLine, leftovers: string[]): void {
  const [tcp, tcpFin, udp] = leftovers.splice(0, 3);
  if (tcp === undefined || tcpFin === undefined || udp === undefined) {
    throw usage('--set option requires 3 timeout values');
  }
  line.timeouts = [seconds(tcp, 0), seconds(tcpFin, 0), seconds(udp, 0)];
}

function applyRest(reader: WordReader, line: ParsedLine, names: NameSource): void {
  for (;;) {
    const found = reader.next();
    if (found === null) return;
    if (found.spec.long === 'persistent') {
      applyPersistent(line, found.argument);
      continue;
    }
    const apply = found.spec.command === null ? APPLY[found.spec.long] : undefined;
    if (apply === undefined) throw usage(`invalid option \`${reader.lastWord}'`);
    apply(line, found.argument ?? '', names);
  }
}

/**
 * `program`: own name for the messages that carry it. Throws UsageError; UnresolvedHost when a
 * host name has to be looked up first.
 */
export function parseLine(
  words: readonly string[],
  program: string,
  names: NameSource,
): ParsedLine | 'help' | 'version' {
  const reader = new WordReader(words);
  const first = firstOption(reader, program);
  const command = first.spec.command;
  if (command === 'help' || command === 'version') return command;
  if (command === null) throw tryHelp(program);
  const line = new ParsedLine(command);
  if (command === 'start-daemon') {
    line.role = syncRole(first.argument, 'illegal start-daemon parameter specified');
  } else if (command === 'stop-daemon') {
    line.role = syncRole(first.argument, 'illegal start_daemon specified');
  }
  try {
    applyRest(reader, line, names);
  } catch (error) {
    if (error instanceof WordError) throw new UsageError(error.message, EXIT_WORDS, false);
    throw error;
  }
  if (command === 'set') takeTimeouts(line, reader.leftovers);
  const [unexpected] = reader.leftovers;
  if (unexpected !== undefined) throw usage(`unexpected argument ${unexpected}`);
  line.schedulerFlags = parseSchedulerFlags(line.schedulerFlagsText, line.scheduler);
  return line;
}
