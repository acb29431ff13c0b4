/** All checks of `xvs doctor`, in the order in which an operator would look. */
import { checkCounters } from './counters';
import type { Facts } from './facts';
import { bySeverity, type Finding } from './finding';
import { checkHost } from './hostSettings';
import { checkInterfaces } from './interfaces';
import { checkMarks } from './marks';
import { checkOwnTraffic } from './ownTraffic';
import { checkQueues } from './queues';
import { checkRouting } from './routing';
import { checkServers } from './servers';
import { checkTunnels } from './tunnels';
import { checkVirtualAddresses } from './virtualAddresses';

const CHECKS: readonly ((facts: Facts) => Finding[])[] = [
  checkInterfaces,
  checkVirtualAddresses,
  checkMarks,
  checkServers,
  checkTunnels,
  checkHost,
  checkQueues,
  checkRouting,
  checkOwnTraffic,
  checkCounters,
];

export function diagnose(facts: Facts): Finding[] {
  return bySeverity(CHECKS.flatMap((check) => check(facts)));
}
