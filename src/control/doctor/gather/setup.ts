/** The set-up that is to be checked: a running daemon's, or that of a config file. */
import type { Config } from '../../config';
import { formatRule } from '../../mark/format';
import type { MarkList, ServiceListing } from '../../protocol';
import type { ServiceSetup, Setup } from '../facts';
import type { DaemonState } from '../state';

export function setupOfConfig(config: Config): Setup {
  const { interfaces, workers } = config;
  return {
    interfaces,
    workers,
    services: config.services.map(({ service, servers, localAddresses = [] }) => ({
      key: service,
      servers: servers.map(({ server, settings }) => ({ ...server, ...settings })),
      localAddresses,
    })),
    marks: config.marks.map((rule) => ({ family: rule.family, rule: formatRule(rule) })),
  };
}

export function setupOfDaemon(
  { interfaces, workersWanted }: DaemonState,
  services: readonly ServiceListing[],
  marks: MarkList['rules'],
): Setup {
  return { interfaces, workers: workersWanted, services: services.map(serviceOf), marks };
}

function serviceOf(service: ServiceListing): ServiceSetup {
  const { family, protocol, address, port, fwmark, servers, localAddresses = [] } = service;
  return {
    key: { family, protocol, address, port, fwmark },
    servers,
    localAddresses: localAddresses.map((local) => local.address),
  };
}
