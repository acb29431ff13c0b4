/**
 * What the log tells: every event's name and meaning. The names are part of what operators build
 * on (filters, alerts): docs/operating.md lists them, a test compares.
 */

export const LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type Level = (typeof LEVELS)[number];

export const EVENTS = {
  starting: 'The daemon starts: version, config file, interfaces, workers and their CPUs.',
  ready: 'Packets are balanced from now on.',
  stopping: 'The daemon was told to end, by which signal.',
  stopped: 'Everything was given back; the last line.',
  failed: 'The daemon cannot start or go on; the reason.',
  config_refused: 'What is wrong with the config file, one line for each mistake.',
  restart_needed: 'A key of the config file has changed that only a restart takes over.',
  audit: 'A change, done or refused: who, what, the result.',
  request: 'A request that changes nothing, on the admin socket (debug).',
  interface_attached: 'The XDP program is attached to the interface.',
  interface_gone: 'A served interface does not exist any more.',
  link_up: 'A served interface is up again.',
  link_down: 'A served interface is down.',
  worker_started: 'A worker thread runs: its CPU, queues, modes.',
  worker_not_pinned: 'A worker runs on any CPU, and why.',
  worker_not_first:
    'A worker, or all, have no precedence over the control plane on a CPU they share, and why.',
  worker_not_compiled: 'A worker works, but slower: V8 did not compile some of its code.',
  worker_died: 'A worker thread has ended; another one takes its place.',
  worker_replaced: 'It has.',
  table_full: 'Packets were dropped because the connection table, or an index bucket, is full.',
  local_ports_exhausted: 'FULLNAT: packets were dropped for want of a local port.',
  no_real_server: 'Packets were refused because a service has no real server to choose.',
  no_route: 'Packets were dropped for want of a route or an answering neighbour.',
  neighbour_unresolved: 'Packets waited for a neighbour in vain.',
  neighbours_full: 'The kernel has more neighbours than the mirror holds.',
  routes_full: 'The kernel has more routes than the mirror holds.',
  routing_not_mirrored: 'Routing that the director does not follow: policy rules, VRFs, multipath.',
  kernel_unread: 'Links, routes or MACs could not be read from the kernel; it is tried again.',
  kernel_reread: 'Notifications of the kernel were lost: everything is read anew.',
  redirect_failed: "The XDP program's maps could not be written.",
  local_address_foreign: 'A local address of FULLNAT is none of this host.',
  local_server_translated: 'A real server became the director itself, where NAT cannot work.',
  defense_on: 'drop_entry, drop_packet or secure_tcp began to hold: the table is nearly full.',
  defense_off: 'It ended.',
  web_open: 'Where the web page is.',
  notify_failed: 'systemd could not be told that the daemon is ready.',
  close_failed: 'Something could not be given back at the end.',
  log_lost: 'Nobody took the log for a while: how many lines are missing.',
} as const satisfies Readonly<Record<string, string>>;
export type EventName = keyof typeof EVENTS;

/** Beside the message, for programs; shown in JSON only. */
export type Fields = Readonly<Record<string, unknown>>;

/** `message` says everything that `fields` say, for people. */
export type Log = (level: Level, event: EventName, message: string, fields?: Fields) => void;
