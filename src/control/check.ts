/**
 * May the director do this? Checked before anything is changed, so that a change is applied whole
 * or refused.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { SCHEDULER_NAMES, schedulerNumber } from '../scheduler/index';
import { MAGLEV_SLOTS } from '../scheduler/mh';
import { DirectorError } from './error';
import { serverId, serviceId } from './model';
import type { ServerKey, ServerSettings, ServiceKey, ServiceSettings } from './protocol';

const INT_MAX = 0x7fffffff;
const PREFIX_MAX = 128;

function invalid(message: string): DirectorError {
  return new DirectorError('ERR_VALUE', message);
}

export function checkService(key: ServiceKey, settings: ServiceSettings): void {
  const id = serviceId(key);
  if (schedulerNumber(settings.scheduler) < 0) {
    throw new DirectorError(
      'ERR_SCHEDULER_UNKNOWN',
      `service ${id}: scheduler "${settings.scheduler}" is unknown; ` +
        `allowed are ${SCHEDULER_NAMES.join(', ')}`,
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

export function checkServer(service: ServiceKey, key: ServerKey, settings: ServerSettings): void {
  const id = `service ${serviceId(service)}: real server ${serverId(key)}`;
  if (key.family !== service.family && settings.method !== 'tunnel') {
    throw invalid(`${id}: another address family is allowed with tunnels only`);
  }
  if (
    settings.method === 'tunnel' &&
    settings.tunnel.type === 'gue' &&
    settings.tunnel.port === 0
  ) {
    throw invalid(`${id}: a gue tunnel needs a port from 1 to 65535`);
  }
  if (!isUnicast(key.address)) {
    throw new DirectorError('ERR_VALUE', `${id}: the address must be unicast`);
  }
  requireRange(id, 'weight', settings.weight, INT_MAX);
  requireRange(id, 'upperThreshold', settings.upperThreshold, INT_MAX);
  requireRange(id, 'lowerThreshold', settings.lowerThreshold, INT_MAX);
  if (settings.lowerThreshold > settings.upperThreshold) {
    throw new DirectorError(
      'ERR_THRESHOLDS',
      `${id}: lowerThreshold ${settings.lowerThreshold} is above ` +
        `upperThreshold ${settings.upperThreshold}`,
    );
  }
}

function requireRange(id: string, name: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= max) return;
  throw new DirectorError('ERR_VALUE', `${id}: ${name} ${value}: 0 to ${max} are allowed`);
}

function isUnicast(address: string): boolean {
  if (isIPv6(address)) return address !== '::' && !/^ff/i.test(address);
  const first = Number(address.split('.')[0]);
  return first > 0 && first < 224;
}
