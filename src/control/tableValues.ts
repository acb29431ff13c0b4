/** Settings as the shared tables hold them: numbers for names. */
import {
  METHOD_BYPASS,
  METHOD_DR,
  METHOD_FULLNAT,
  METHOD_LOCAL,
  METHOD_NAT,
  METHOD_TUNNEL,
  type RealServerSettings,
} from '../table/realServer';
import type { ForwardingMethodName, ServerSettings, ServiceSettings } from './protocol';

export const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const METHOD_NUMBERS: Readonly<Record<ForwardingMethodName, number>> = {
  nat: METHOD_NAT,
  local: METHOD_LOCAL,
  tunnel: METHOD_TUNNEL,
  dr: METHOD_DR,
  bypass: METHOD_BYPASS,
  fullnat: METHOD_FULLNAT,
};
const TUNNEL_TYPES = ['ipip', 'gue', 'gre'] as const;
const TUNNEL_CHECKSUMS = ['nocsum', 'csum', 'remcsum'] as const;

export function tableSettings(settings: ServerSettings): RealServerSettings {
  return {
    method: METHOD_NUMBERS[settings.method],
    weight: settings.weight,
    upperThreshold: settings.upperThreshold,
    lowerThreshold: settings.lowerThreshold,
    tunnelType: TUNNEL_TYPES.indexOf(settings.tunnel.type),
    tunnelPort: settings.tunnel.port,
    tunnelChecksum: TUNNEL_CHECKSUMS.indexOf(settings.tunnel.checksum),
  };
}

/** Scheduler flags as bits: see SCHEDULER_FLAG_FALLBACK and SCHEDULER_FLAG_PORT. */
export function schedulerFlags(settings: ServiceSettings): number {
  return settings.schedulerFlags.reduce((bits, set, at) => bits | (set ? 1 << at : 0), 0);
}
