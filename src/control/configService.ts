/** Services of the config file to the director's shapes, and what no single key can say of them. */
import { isIPv6, SocketAddress } from 'node:net';
import { parseAddressAndPort, type RawServer, type RawService } from './configSchema';
import { type Path, type Source, shown } from './configSource';
import { DirectorError } from './error';
import { checkLocalAddress } from './localAddress';
import { type ServerSpec, type ServiceSpec, serverId } from './model';
import type { ServiceKey, ServiceSettings } from './protocol';

/** Text by which addresses are compared: IPv6 as RFC 5952 writes it. */
function canonical(family: 4 | 6, address: string): string {
  return family === 4 ? address : new SocketAddress({ address, family: 'ipv6' }).address;
}

const SERVICE_KINDS = ['tcp', 'udp', 'sctp', 'fwmark'] as const;

function serviceKeyOf(source: Source, path: Path, raw: RawService): ServiceKey | null {
  const kinds = SERVICE_KINDS.filter((kind) => raw[kind] !== undefined);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1) {
    const given = kinds.length === 0 ? 'none' : kinds.join(', ');
    source.refuse(path, `${given} given: one of ${SERVICE_KINDS.join(', ')} is allowed`);
    return null;
  }
  if (kind === 'fwmark') {
    const family = raw.ipv6 ? 6 : 4;
    const address = family === 6 ? '::' : '0.0.0.0';
    return { family, protocol: 'tcp', address, port: 0, fwmark: raw.fwmark ?? 0 };
  }
  if (raw.ipv6 !== undefined) {
    source.refuse([...path, 'ipv6'], 'only with fwmark: an address says by itself what it is');
  }
  const parsed = parseAddressAndPort(raw[kind] ?? '');
  if (parsed === null) return null;
  const { family, port } = parsed;
  const address = canonical(family, parsed.address);
  if (port === 0 && raw.persistent === 0) {
    source.refuse([...path, kind], 'port 0 (every port) is allowed with persistent only');
  }
  return { family, protocol: kind, address, port: port ?? 0, fwmark: 0 };
}

function netmaskOf(source: Source, path: Path, raw: RawService, family: 4 | 6): string {
  if (raw.netmask === undefined) return family === 6 ? '128' : '255.255.255.255';
  const wanted = family === 6 ? 'number' : 'string';
  if (typeof raw.netmask !== wanted) {
    const allowed = family === 6 ? 'a prefix of 1 to 128' : 'a mask as 255.255.255.0';
    const place = [...path, 'netmask'];
    source.refuse(place, `value ${shown(raw.netmask)}: for IPv${family} ${allowed} is allowed`);
  }
  return String(raw.netmask);
}

function settingsOf(source: Source, path: Path, raw: RawService, key: ServiceKey): ServiceSettings {
  if (raw.onePacket && key.fwmark === 0 && key.protocol !== 'udp') {
    source.refuse([...path, 'onePacket'], 'value true: allowed for udp and fwmark services only');
  }
  return {
    scheduler: raw.scheduler,
    persistentTimeout: raw.persistent,
    netmask: netmaskOf(source, path, raw, key.family),
    onePacket: raw.onePacket,
    schedulerFlags: [
      raw.schedulerFlags.includes(1),
      raw.schedulerFlags.includes(2),
      raw.schedulerFlags.includes(3),
    ],
    persistenceEngine: raw.persistenceEngine,
  };
}

function checkTunnel(source: Source, path: Path, raw: RawServer): void {
  const { tunnel } = raw;
  if (tunnel === undefined) return;
  if (raw.method !== 'tun') source.refuse(path, 'allowed with method tun only');
  if (tunnel.type === 'gue' && tunnel.port === undefined) {
    source.refuse(path, 'type gue: a port is needed');
  } else if (tunnel.type !== 'gue' && tunnel.port !== undefined) {
    source.refuse([...path, 'port'], `allowed with type gue only, not ${tunnel.type}`);
  }
  const plain = tunnel.checksum === 'nocsum';
  if (
    (tunnel.type === 'ipip' && !plain) ||
    (tunnel.type === 'gre' && tunnel.checksum === 'remcsum')
  ) {
    const place = [...path, 'checksum'];
    source.refuse(place, `value "${tunnel.checksum}": not allowed with type ${tunnel.type}`);
  }
}

function serverOf(source: Source, path: Path, raw: RawServer, service: ServiceKey): ServerSpec {
  const parsed = parseAddressAndPort(raw.address);
  const { family = 4, address = raw.address } = parsed ?? {};
  const port = parsed?.port ?? service.port;
  const place = [...path, 'address'];
  if (family !== service.family && raw.method !== 'tun') {
    const said = `value "${raw.address}"`;
    source.refuse(place, `${said}: another family than the service's is allowed with method tun`);
  }
  const keepsPort = raw.method === 'dr' || raw.method === 'tun';
  if (keepsPort && service.fwmark === 0 && port !== service.port) {
    const said = `value "${raw.address}"`;
    source.refuse(place, `${said}: method ${raw.method} allows the service's port only`);
  }
  if (raw.lowerThreshold > raw.upperThreshold) {
    const limit = `at most upperThreshold (${raw.upperThreshold}) is allowed`;
    source.refuse([...path, 'lowerThreshold'], `value ${raw.lowerThreshold}: ${limit}`);
  }
  checkTunnel(source, [...path, 'tunnel'], raw);
  const { type = 'ipip', checksum = 'nocsum', port: tunnelPort = 0 } = raw.tunnel ?? {};
  return {
    server: { family, address: canonical(family, address), port },
    settings: {
      method: raw.method === 'tun' ? 'tunnel' : raw.method,
      weight: raw.weight,
      upperThreshold: raw.upperThreshold,
      lowerThreshold: raw.lowerThreshold,
      tunnel: { type, port: tunnelPort, checksum },
    },
  };
}

function localAddressesOf(
  source: Source,
  path: Path,
  raw: RawService,
  service: ServiceKey,
): readonly string[] {
  const addresses = raw.localAddresses.map((text) => canonical(isIPv6(text) ? 6 : 4, text));
  for (const [index, address] of addresses.entries()) {
    const place = [...path, 'localAddresses', index];
    try {
      checkLocalAddress(service, address);
    } catch (error) {
      if (!(error instanceof DirectorError)) throw error;
      source.refuse(place, error.message);
    }
    if (addresses.indexOf(address) < index) source.refuse(place, `${address} stands here twice`);
  }
  return addresses;
}

/** One entry of `services` that its schema accepts; null when it names no service. */
export function serviceOf(source: Source, path: Path, raw: RawService): ServiceSpec | null {
  const service = serviceKeyOf(source, path, raw);
  if (service === null) return null;
  const settings = settingsOf(source, path, raw, service);
  const seen = new Set<string>();
  const servers = raw.servers.map((server, index) => {
    const place = [...path, 'servers', index];
    const spec = serverOf(source, place, server, service);
    const id = serverId(spec.server);
    if (seen.has(id)) source.refuse([...place, 'address'], `${id} stands here twice`);
    seen.add(id);
    return spec;
  });
  const localAddresses = localAddressesOf(source, path, raw, service);
  if (localAddresses.length === 0) return { service, settings, servers };
  return { service, settings, servers, localAddresses };
}
