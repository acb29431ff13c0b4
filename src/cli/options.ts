/**
 * The option table of ipvsadm 1.31: commands, options, their words, and which option goes with
 * which command. Source: ipvsadm(8) and spec of its behaviour; `fullnat` and what is about
 * local addresses is ours: DPVS's commands, whose letters (-P, -Q, -G) are left out.
 */

export const COMMANDS = [
  'add-service',
  'edit-service',
  'delete-service',
  'flush',
  'list',
  'add-server',
  'delete-server',
  'edit-server',
  'set',
  'start-daemon',
  'stop-daemon',
  'restore',
  'save',
  'zero',
  'add-laddr',
  'del-laddr',
  'get-laddr',
] as const;
export type CommandName = (typeof COMMANDS)[number];

/** In the order in which a line is checked: the first offending option names the error. */
export const OPTIONS = [
  'numeric',
  'connection',
  'service-address',
  'scheduler',
  'persistent',
  'netmask',
  'real-server',
  'forwarding-method',
  'weight',
  'u-threshold',
  'l-threshold',
  'mcast-interface',
  'timeout',
  'daemon',
  'stats',
  'rate',
  'thresholds',
  'persistent-conn',
  'nosort',
  'syncid',
  'exact',
  'ops',
  'pe',
  'sched-flags',
  'mcast-group',
  'mcast-port',
  'mcast-ttl',
  'sync-maxlen',
  'tun-info',
  'tun-type',
  'tun-port',
  'tun-nocsum',
  'tun-csum',
  'tun-remcsum',
  'local-address',
  'interface',
] as const;
export type OptionName = (typeof OPTIONS)[number];

export type Argument = 'none' | 'required' | 'optional';

export interface WordSpec {
  /** Long word without dashes; every option has one. It is also the key the parser acts on. */
  readonly long: string;
  /** Short letter, '' if there is none. */
  readonly short: string;
  readonly argument: Argument;
  /** What a first word of this kind commands; null for plain options. */
  readonly command: CommandName | 'help' | 'version' | null;
}

function command(long: string, short: string, name: WordSpec['command']): WordSpec {
  return { long, short, argument: 'none', command: name };
}

function option(long: string, short: string, argument: Argument): WordSpec {
  return { long, short, argument, command: null };
}

export const WORDS: readonly WordSpec[] = [
  command('add-service', 'A', 'add-service'),
  command('edit-service', 'E', 'edit-service'),
  command('delete-service', 'D', 'delete-service'),
  command('clear', 'C', 'flush'),
  command('list', 'L', 'list'),
  { long: '', short: 'l', argument: 'none', command: 'list' },
  command('zero', 'Z', 'zero'),
  command('add-server', 'a', 'add-server'),
  command('delete-server', 'd', 'delete-server'),
  command('edit-server', 'e', 'edit-server'),
  command('set', '', 'set'),
  { long: 'start-daemon', short: '', argument: 'required', command: 'start-daemon' },
  { long: 'stop-daemon', short: '', argument: 'required', command: 'stop-daemon' },
  command('restore', 'R', 'restore'),
  command('save', 'S', 'save'),
  command('help', 'h', 'help'),
  command('version', 'v', 'version'),
  command('add-laddr', '', 'add-laddr'),
  command('del-laddr', '', 'del-laddr'),
  command('get-laddr', '', 'get-laddr'),
  option('tcp-service', 't', 'required'),
  option('udp-service', 'u', 'required'),
  option('sctp-service', '', 'required'),
  option('fwmark-service', 'f', 'required'),
  option('ipv6', '6', 'none'),
  option('scheduler', 's', 'required'),
  option('persistent', 'p', 'optional'),
  option('netmask', 'M', 'required'),
  option('real-server', 'r', 'required'),
  option('masquerading', 'm', 'none'),
  option('ipip', 'i', 'none'),
  option('gatewaying', 'g', 'none'),
  option('fullnat', '', 'none'),
  option('weight', 'w', 'required'),
  option('u-threshold', 'x', 'required'),
  option('l-threshold', 'y', 'required'),
  option('mcast-interface', '', 'required'),
  option('syncid', '', 'required'),
  option('mcast-group', '', 'required'),
  option('mcast-port', '', 'required'),
  option('mcast-ttl', '', 'required'),
  option('sync-maxlen', '', 'required'),
  option('timeout', '', 'none'),
  option('connection', 'c', 'none'),
  option('daemon', '', 'none'),
  option('stats', '', 'none'),
  option('rate', '', 'none'),
  option('thresholds', '', 'none'),
  option('persistent-conn', '', 'none'),
  option('tun-info', '', 'none'),
  option('nosort', '', 'none'),
  option('sort', '', 'none'),
  option('exact', 'X', 'none'),
  option('numeric', 'n', 'none'),
  option('ops', 'o', 'none'),
  option('pe', '', 'required'),
  option('sched-flags', 'b', 'required'),
  option('tun-type', '', 'required'),
  option('tun-port', '', 'required'),
  option('tun-nocsum', '', 'none'),
  option('tun-csum', '', 'none'),
  option('tun-remcsum', '', 'none'),
  option('local-address', 'z', 'required'),
  option('interface', 'F', 'required'),
];

/** What a command needs, takes, and takes at most one of. Anything else is illegal with it. */
export interface CommandRule {
  readonly compulsory: readonly OptionName[];
  readonly optional: readonly OptionName[];
  readonly oneOf: readonly OptionName[];
}

function rule(
  compulsory: readonly OptionName[],
  optional: readonly OptionName[],
  oneOf: readonly OptionName[] = [],
): CommandRule {
  return { compulsory, optional, oneOf };
}

const SERVICE_RULE = rule(
  ['service-address'],
  ['scheduler', 'persistent', 'netmask', 'ops', 'pe', 'sched-flags'],
);
const SERVER_RULE = rule(
  ['service-address', 'real-server'],
  [
    'forwarding-method',
    'weight',
    'u-threshold',
    'l-threshold',
    'tun-type',
    'tun-port',
    'tun-nocsum',
    'tun-csum',
    'tun-remcsum',
  ],
);
/** Scripts for DPVS name the interface too; here the kernel's routes decide. */
const LOCAL_ADDRESS_RULE = rule(['service-address', 'local-address'], ['interface']);
const NO_OPTIONS = rule([], []);

export const COMMAND_RULES: Readonly<Record<CommandName, CommandRule>> = {
  'add-service': SERVICE_RULE,
  'edit-service': SERVICE_RULE,
  'delete-service': rule(['service-address'], []),
  flush: NO_OPTIONS,
  list: rule(
    [],
    [
      'numeric',
      'stats',
      'rate',
      'thresholds',
      'persistent-conn',
      'nosort',
      'syncid',
      'exact',
      'tun-info',
    ],
    ['connection', 'service-address', 'timeout', 'daemon'],
  ),
  'add-server': SERVER_RULE,
  'edit-server': SERVER_RULE,
  'delete-server': rule(['service-address', 'real-server'], []),
  set: NO_OPTIONS,
  'start-daemon': rule(
    [],
    ['mcast-interface', 'syncid', 'mcast-group', 'mcast-port', 'mcast-ttl', 'sync-maxlen'],
  ),
  'stop-daemon': rule([], ['syncid']),
  restore: NO_OPTIONS,
  save: rule([], ['numeric']),
  zero: rule([], ['service-address']),
  'add-laddr': LOCAL_ADDRESS_RULE,
  'del-laddr': LOCAL_ADDRESS_RULE,
  'get-laddr': rule([], ['numeric', 'service-address']),
};

/** The same for what follows `--tun-type`. */
export const TUNNEL_RULES: Readonly<Record<'ipip' | 'gue' | 'gre', CommandRule>> = {
  ipip: NO_OPTIONS,
  gue: rule(['tun-port'], [], ['tun-nocsum', 'tun-csum', 'tun-remcsum']),
  gre: rule([], [], ['tun-nocsum', 'tun-csum']),
};
export const TUNNEL_OPTIONS: readonly OptionName[] = [
  'tun-port',
  'tun-nocsum',
  'tun-csum',
  'tun-remcsum',
];
