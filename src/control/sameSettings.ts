/** Are settings the same? Written out: an apply asks for each of a hundred thousand servers. */
import type { ServerSettings, ServiceSettings } from './protocol';

export function isSameService(one: ServiceSettings, other: ServiceSettings): boolean {
  return (
    one === other ||
    (one.scheduler === other.scheduler &&
      one.persistentTimeout === other.persistentTimeout &&
      one.netmask === other.netmask &&
      one.onePacket === other.onePacket &&
      one.schedulerFlags.every((flag, at) => flag === other.schedulerFlags[at]) &&
      one.persistenceEngine === other.persistenceEngine)
  );
}

export function isSameServer(one: ServerSettings, other: ServerSettings): boolean {
  return (
    one === other ||
    (one.method === other.method &&
      one.weight === other.weight &&
      one.upperThreshold === other.upperThreshold &&
      one.lowerThreshold === other.lowerThreshold &&
      one.tunnel.type === other.tunnel.type &&
      one.tunnel.port === other.tunnel.port &&
      one.tunnel.checksum === other.tunnel.checksum)
  );
}
