/**
 * IPVS's sysctls that have a meaning here: names, limits and defaults as IPVS has them (kernel
 * documentation, ipvs-sysctl.rst), and the words of the shared settings that say them to workers.
 * Those without a meaning here are named with the reason, and refused. Modes of the defense
 * (drop_entry, drop_packet, secure_tcp) are carried out by defense.ts. `toa` and
 * `conn_expire_tcp_rst` are not IPVS's: they steer FULLNAT (the latter under alibaba LVS's name).
 */
import { type SettingName, type Settings, TICKS_PER_SECOND } from '../table/setting';
import { DirectorError } from './error';
import type { SysctlValues } from './protocol';

interface Sysctl {
  readonly minimum: number;
  readonly maximum: number;
  readonly standard: number;
  /** Where workers read it, if they do. */
  readonly setting?: SettingName;
  /** What one of its units is in the setting. */
  readonly scale?: number;
}

const INT32_MAX = 2 ** 31 - 1;
const SECONDS_MAX = Math.floor(INT32_MAX / TICKS_PER_SECOND);
const DAY_SECONDS = 86_400;

function flag(standard: 0 | 1, setting?: SettingName): Sysctl {
  const limits = { minimum: 0, maximum: 1, standard };
  return setting === undefined ? limits : { ...limits, setting };
}
function seconds(standard: number, setting: SettingName): Sysctl {
  return { minimum: 0, maximum: SECONDS_MAX, standard, setting, scale: TICKS_PER_SECOND };
}
const DEFENSE_MODE: Sysctl = { minimum: 0, maximum: 3, standard: 0 };

/** By name, in the order in which they are listed. */
export const SYSCTLS: Readonly<Record<string, Sysctl>> = {
  am_droprate: { minimum: 1, maximum: INT32_MAX, standard: 10 },
  amemthresh: { minimum: 0, maximum: INT32_MAX, standard: 1024 },
  cache_bypass: flag(0, 'cacheBypass'),
  conn_expire_tcp_rst: flag(0, 'connExpireTcpRst'),
  conn_reuse_mode: { minimum: 0, maximum: 3, standard: 1, setting: 'connReuseMode' },
  drop_entry: DEFENSE_MODE,
  drop_packet: DEFENSE_MODE,
  expire_nodest_conn: flag(0, 'expireNodestConn'),
  expire_quiescent_template: flag(0, 'expireQuiescentTemplate'),
  lblc_expiration: seconds(DAY_SECONDS, 'lblcExpiration'),
  lblcr_expiration: seconds(DAY_SECONDS, 'lblcrExpiration'),
  nat_icmp_send: flag(0, 'natIcmpSend'),
  pmtu_disc: flag(1, 'pmtuDisc'),
  run_estimation: flag(1),
  schedule_icmp: flag(0, 'scheduleIcmp'),
  secure_tcp: DEFENSE_MODE,
  sloppy_tcp: flag(0, 'sloppyTcp'),
  sloppy_sctp: flag(0, 'sloppySctp'),
  toa: flag(1, 'toa'),
};

const NETFILTER = 'netfilter does not see balanced packets';
const SYNC = 'this version does not synchronise connections';
/** Names that IPVS has and that say nothing to this director: why. */
export const SYSCTLS_WITHOUT_MEANING: Readonly<Record<string, string>> = {
  backup_only: SYNC,
  conntrack: NETFILTER,
  est_cpulist: 'rates are estimated by the daemon, not by kernel threads',
  est_nice: 'rates are estimated by the daemon, not by kernel threads',
  ignore_tunneled: 'packets that came through a tunnel are not known as such',
  snat_reroute: NETFILTER,
  sync_persist_mode: SYNC,
  sync_ports: SYNC,
  sync_qlen_max: SYNC,
  sync_refresh_period: SYNC,
  sync_retries: SYNC,
  sync_sock_size: SYNC,
  sync_threshold: SYNC,
  sync_version: SYNC,
};

/** Those that switch between 1 and 2 by themselves, as memory gets scarce or not. */
export const DEFENSES = ['drop_entry', 'drop_packet', 'secure_tcp'] as const;
export type DefenseName = (typeof DEFENSES)[number];

export const STANDARD_SYSCTLS: SysctlValues = Object.fromEntries(
  Object.entries(SYSCTLS).map(([name, { standard }]) => [name, standard]),
);

/** Throws a DirectorError that names the first value that cannot be, and what is allowed. */
export function checkSysctls(values: SysctlValues): void {
  for (const [name, value] of Object.entries(values)) {
    requireKnown(name);
    const { minimum, maximum } = SYSCTLS[name]!;
    if (Number.isInteger(value) && value >= minimum && value <= maximum) continue;
    const allowed = `${minimum} to ${maximum} are allowed`;
    throw new DirectorError('ERR_VALUE', `sysctl ${name} ${value}: ${allowed}`);
  }
}

/** Throws a DirectorError unless there is a sysctl of this name here. */
export function requireKnown(name: string): void {
  if (Object.hasOwn(SYSCTLS, name)) return;
  if (Object.hasOwn(SYSCTLS_WITHOUT_MEANING, name)) {
    const reason = SYSCTLS_WITHOUT_MEANING[name]!;
    throw new DirectorError('ERR_VALUE', `sysctl ${name}: has no meaning here: ${reason}`);
  }
  const allowed = Object.keys(SYSCTLS).join(', ');
  throw new DirectorError('ERR_VALUE', `sysctl "${name}" is unknown; allowed are ${allowed}`);
}

export class Sysctls {
  readonly #settings: Settings;
  #values: Record<string, number> = { ...STANDARD_SYSCTLS };
  readonly #watchers: (() => void)[] = [];

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  get values(): SysctlValues {
    return this.#values;
  }

  value(name: keyof typeof SYSCTLS): number {
    return this.#values[name]!;
  }

  /** `watcher` is called after each change. */
  watch(watcher: () => void): void {
    this.#watchers.push(watcher);
  }

  /** Sets all of them, or throws a DirectorError and changes nothing. */
  set(values: SysctlValues): void {
    checkSysctls(values);
    this.#values = { ...this.#values, ...values };
    for (const name of Object.keys(values)) {
      const { setting, scale = 1 } = SYSCTLS[name]!;
      if (setting !== undefined) this.#settings.set(setting, this.#values[name]! * scale);
    }
    for (const watcher of this.#watchers) watcher();
  }

  /** The defense goes from 1 to 2 or back by itself. */
  noteMode(name: DefenseName, mode: number): void {
    this.#values[name] = mode;
  }

  /** Which of `wanted` are not so; a mode that is 2 by itself is the 1 that was asked for. */
  differences(wanted: SysctlValues): SysctlValues {
    const isAutomatic = (mode: number): boolean => mode === 1 || mode === 2;
    const differs = (name: string, value: number): boolean => {
      const now = this.#values[name]!;
      const isMode = (DEFENSES as readonly string[]).includes(name);
      return now !== value && !(isMode && isAutomatic(now) && isAutomatic(value));
    };
    return Object.fromEntries(
      Object.entries(wanted).filter(([name, value]) => differs(name, value)),
    );
  }
}
