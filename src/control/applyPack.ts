/**
 * An apply's request in the form in which it is sent, and back. A hundred thousand real servers
 * take a fifth of the bytes that way, and the director keeps one object for equal settings.
 */
import type {
  ApplyRequest,
  PackedApplyRequest,
  PackedService,
  ServerSettings,
  ServerSpec,
  ServiceSettings,
  ServiceSpec,
} from './protocol';
import { isSameServer, isSameService } from './sameSettings';

/** Numbers equal settings alike. */
class Numbered<Settings extends ServiceSettings | ServerSettings> {
  readonly all: Settings[] = [];
  readonly #isSame: (one: Settings, other: Settings) => boolean;
  readonly #numbers = new Map<string, number>();
  #last = 0;

  constructor(isSame: (one: Settings, other: Settings) => boolean) {
    this.#isSame = isSame;
  }

  number(settings: Settings): number {
    const last = this.all[this.#last];
    if (last === undefined || !this.#isSame(last, settings)) this.#last = this.#lookUp(settings);
    return this.#last;
  }

  #lookUp(settings: Settings): number {
    const text = JSON.stringify(settings);
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.all.push(settings) - 1;
      this.#numbers.set(text, number);
    }
    return number;
  }
}

export function packRequest(request: ApplyRequest): PackedApplyRequest {
  const ofServices = new Numbered<ServiceSettings>(isSameService);
  const ofServers = new Numbered<ServerSettings>(isSameServer);
  const services = request.services.map((spec): PackedService => {
    const { service, settings, servers, localAddresses } = spec;
    const packed = {
      service,
      settings: ofServices.number(settings),
      addresses: servers.map(({ server }) => server.address),
      ports: servers.map(({ server }) => server.port),
      serverSettings: servers.map((server) => ofServers.number(server.settings)),
    };
    return localAddresses === undefined ? packed : { ...packed, localAddresses };
  });
  return { ...request, services, serviceSettings: ofServices.all, serverSettings: ofServers.all };
}

/** Throws a RangeError for lists that do not fit together, or a number that names nothing. */
export function unpackRequest(packed: PackedApplyRequest): ApplyRequest {
  const { serviceSettings, serverSettings, services, ...rest } = packed;
  return {
    ...rest,
    services: services.map((one, at): ServiceSpec => {
      const { service, settings: number, localAddresses } = one;
      const settings = named(serviceSettings, number, `services.${at}.settings`);
      const servers = unpackServers(one, serverSettings, `services.${at}`);
      const spec = { service, settings, servers };
      return localAddresses === undefined ? spec : { ...spec, localAddresses };
    }),
  };
}

function unpackServers(
  { addresses, ports, serverSettings: numbers }: PackedService,
  settings: readonly ServerSettings[],
  place: string,
): ServerSpec[] {
  if (ports.length !== addresses.length || numbers.length !== addresses.length) {
    throw new RangeError(
      `${place}: ${addresses.length} addresses, ${ports.length} ports and ${numbers.length} ` +
        'serverSettings: as many of each are allowed',
    );
  }
  const servers: ServerSpec[] = [];
  for (let at = 0; at < addresses.length; at++) {
    const address = addresses[at]!;
    const server = { family: address.includes(':') ? 6 : 4, address, port: ports[at]! } as const;
    servers.push({
      server,
      settings: named(settings, numbers[at]!, `${place}.serverSettings.${at}`),
    });
  }
  return servers;
}

function named<Settings>(all: readonly Settings[], number: number, place: string): Settings {
  const found = all[number];
  if (found !== undefined) return found;
  throw new RangeError(`${place} ${number}: 0 to ${all.length - 1} are allowed`);
}
