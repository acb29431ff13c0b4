/** Of an apply, for both its sides: what needs a restart, and the result in words. */
import type { Config } from './config';
import { formatRule } from './mark/format';
import type { ApplyRequest, ApplyResult, ChangeCounts, StartupSettings } from './protocol';
import { STANDARD_SYSCTLS } from './sysctl';

/** What a running daemon cannot change. */
export function startupSettings(config: Config): StartupSettings {
  const { socket, metrics, web, workers, interfaces, connections } = config;
  const settings = { socket, metrics, web, workers, interfaces, connections };
  return Object.fromEntries(
    Object.entries(settings).map(([key, value]) => [key, JSON.stringify(value)]),
  );
}

/** What a running daemon takes over of a config file. */
export function requestOf(config: Config): Omit<ApplyRequest, 'dryRun'> {
  const marks = config.marks.map((rule) => ({ family: rule.family, rule: formatRule(rule) }));
  const { services, timeouts } = config;
  const sysctl = { ...STANDARD_SYSCTLS, ...config.sysctl };
  return { services, marks, timeouts, sysctl, startup: startupSettings(config) };
}

/** How many services, real servers, local addresses and sysctls were changed. */
export function countChanges({ services, servers, localAddresses, sysctl }: ApplyResult): number {
  const count = ({ added, edited, removed }: ChangeCounts): number => added + edited + removed;
  const local = localAddresses === undefined ? 0 : count(localAddresses);
  return count(services) + count(servers) + local + Object.keys(sysctl ?? {}).length;
}

/** What was done, or would be, in a line. */
export function describeResult(result: ApplyResult): string {
  const counts = (what: string, { added, edited, removed }: ChangeCounts): string =>
    `${what} ${added} added, ${edited} edited, ${removed} removed`;
  const { services, servers, localAddresses, marks, timeouts, sysctl } = result;
  const parts = [counts('services', services), counts('real servers', servers)];
  if (localAddresses !== undefined) {
    const { added, removed } = localAddresses;
    parts.push(`local addresses ${added} added, ${removed} removed`);
  }
  if (marks !== null) parts.push(`mark rules ${marks}`);
  if (timeouts !== null) {
    parts.push(`timeouts tcp ${timeouts.tcp}, tcpfin ${timeouts.tcpFin}, udp ${timeouts.udp}`);
  }
  if (sysctl !== null) {
    const values = Object.entries(sysctl).map(([name, value]) => `${name} ${value}`);
    parts.push(`sysctl ${values.join(', ')}`);
  }
  return parts.join('; ');
}
