/**
 * May the director do this? Checked before anything is changed, so that a change is applied whole
 * or refused.
 */
import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { addressWords, parseIpv4 } from '../net/address';
import { NO_SCHEDULER, SCHEDULER_NAMES, schedulerNumber } from '../scheduler/index';
import { MAGLEV_SLOTS } from '../scheduler/mh';
import { DirectorError } from './error';
import { serverId, serviceId } from './model';
import type { ServerKey, ServerSettings, ServiceKey, ServiceSettings } from './protocol';

const INT_MAX = 0x7fffffff;
const PREFIX_MAX = 128;
/** Upper bits of addresses: 224.0.0.0/4, ff00::/8, fe80::/10; the third word of ::ffff:0:0/96. */
const IPV4_MULTICAST = 14;
const IPV6_MULTICAST = 0xff;
const IPV6_LINK_LOCAL = 0xfe80 >>> 6;
const IPV4_MAPPED = 0xffff;

function invalid(message: string): DirectorError {
  return new DirectorError('ERR_VALUE', message);
}

export function checkService(key: ServiceKey, settings: ServiceSettings): void {
  const id = serviceId(key);
  if (!isWritten(key)) throw writtenWrong(`service ${id}`, key);
  if (schedulerNumber(settings.scheduler) < 0) {
    throw new DirectorError(
      'ERR_SCHEDULER_UNKNOWN',
      `service ${id}: scheduler "${settings.scheduler}" is unknown; ` +
        `allowed are ${[...SCHEDULER_NAMES, NO_SCHEDULER].join(', ')}`,
    );
  }
  if (settings.persistenceEngine !== '' && settings.persistenceEngine !== 'sip') {
    throw new DirectorError(
      'ERR_SCHEDULER_UNKNOWN',
      `service ${id}: persistence engine "${settings.persistenceEngine}" is unknown; ` +
        'allowed is sip',
    );
  }
  const netmask = settings.netmask;
  if (key.family === 4 ? isIPv4(netmask) : isPrefixLength(netmask)) return;
  throw invalid(
    `service ${id}: netmask "${netmask}": ` +
      (key.family === 4 ? 'a dotted mask is allowed' : 'a prefix length from 1 to 128 is allowed'),
  );
}

function isPrefixLength(text: string): boolean {
  const length = Number(text);
  return Number.isInteger(length) && length >= 1 && length <= PREFIX_MAX;
}

/** `count`: how many real servers the service would have. */
export function checkServerCount(key: ServiceKey, scheduler: string, count: number): void {
  if (scheduler !== 'mh' || count <= MAGLEV_SLOTS) return;
  throw new DirectorError(
    'ERR_VALUE',
    `service ${serviceId(key)}: ${count} real servers; scheduler mh takes at most ${MAGLEV_SLOTS}`,
  );
}

function nameOf(service: ServiceKey, key: ServerKey): string {
  return `service ${serviceId(service)}: real server ${serverId(key)}`;
}

/** Of a server that is there or not: looked at before that, as IPVS does. */
export function checkServer(service: ServiceKey, key: ServerKey, settings: ServerSettings): void {
  if (!isWritten(key)) throw writtenWrong(nameOf(service, key), key);
  if (key.family !== service.family && settings.method !== 'tunnel') {
    throw invalid(`${nameOf(service, key)}: another address family is allowed with tunnels only`);
  }
  const { upperThreshold, lowerThreshold, tunnel } = settings;
  for (const name of ['weight', 'upperThreshold', 'lowerThreshold'] as const) {
    const value = settings[name];
    if (isWhole(value, INT_MAX)) continue;
    const allowed = `0 to ${INT_MAX} are allowed`;
    throw invalid(`${nameOf(service, key)}: ${name} ${value}: ${allowed}`);
  }
  if (lowerThreshold > upperThreshold) {
    throw new DirectorError(
      'ERR_THRESHOLDS',
      `${nameOf(service, key)}: lowerThreshold ${lowerThreshold} is above ` +
        `upperThreshold ${upperThreshold}`,
    );
  }
  if (settings.method === 'tunnel' && tunnel.type === 'gue' && tunnel.port === 0) {
    throw invalid(`${nameOf(service, key)}: a gue tunnel needs a port from 1 to 65535`);
  }
}

/** Of a server that is to be added. */
export function checkServerAddress(service: ServiceKey, key: ServerKey): void {
  if (isUnicast(key)) return;
  throw invalid(`${nameOf(service, key)}: the address must be unicast`);
}

/** Keys are compared as text: an address may be written in one way only. */
function isWritten({ family, address }: ServiceKey | ServerKey): boolean {
  // The border has seen that it is an address; of IPv4 there is one way to write it.
  return family === 4 ? !address.includes(':') : isCanonicalIpv6(address);
}

function writtenWrong(id: string, { family, address }: ServiceKey | ServerKey): DirectorError {
  const allowed = family === 4 ? 'a dotted IPv4 address' : 'an IPv6 address as RFC 5952 writes it';
  return invalid(`${id}: address "${address}": ${allowed} is allowed`);
}

function isCanonicalIpv6(address: string): boolean {
  if (!isIPv6(address) || address.includes('%')) return false;
  return new SocketAddress({ address, family: 'ipv6' }).address === address;
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

/**
 * As the kernel tells: of IPv4 all but 0.0.0.0, multicast and broadcast; of IPv6 all but ::,
 * multicast, link-local and mapped IPv4 addresses.
 */
function isUnicast({ family, address }: ServerKey): boolean {
  if (family === 4) {
    const word = parseIpv4(address);
    return word !== 0 && word !== -1 && word >>> 28 !== IPV4_MULTICAST;
  }
  const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = addressWords(address);
  if (word0 >>> 24 === IPV6_MULTICAST || word0 >>> 22 === IPV6_LINK_LOCAL) return false;
  if (word0 !== 0 || word1 !== 0) return true;
  return word2 !== IPV4_MAPPED && (word2 !== 0 || word3 !== 0);
}
