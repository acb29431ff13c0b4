/**
 * May the director do this? Checked before anything is changed, so that a change is applied whole
 * or refused. What a later release brings is refused by name, never ignored.
 */
import { SCHEDULER_NAMES, schedulerNumber } from '../scheduler/index';
import { MAGLEV_SLOTS } from '../scheduler/mh';
import { DirectorError } from './error';
import { serverId, serviceId } from './model';
import type { ServerKey, ServerSettings, ServiceKey, ServiceSettings } from './protocol';

const INT_MAX = 0x7fffffff;

function notSupported(what: string): DirectorError {
  return new DirectorError('ERR_NOT_SUPPORTED', `${what}: not supported by this version of xvs`);
}

export function checkService(key: ServiceKey, settings: ServiceSettings): void {
  const id = serviceId(key);
  if (key.fwmark !== 0) throw notSupported(`service ${id}: firewall marks`);
  if (key.family !== 4) throw notSupported(`service ${id}: IPv6`);
  if (key.protocol === 'sctp') throw notSupported(`service ${id}: SCTP`);
  if (key.port === 0) throw notSupported(`service ${id}: port 0`);
  if (schedulerNumber(settings.scheduler) < 0) {
    throw new DirectorError(
      'ERR_SCHEDULER_UNKNOWN',
      `service ${id}: scheduler "${settings.scheduler}" is unknown; ` +
        `allowed are ${SCHEDULER_NAMES.join(', ')}`,
    );
  }
  if (settings.persistentTimeout !== 0) throw notSupported(`service ${id}: persistence`);
  if (settings.onePacket) throw notSupported(`service ${id}: one-packet scheduling`);
  if (settings.persistenceEngine !== '') throw notSupported(`service ${id}: persistence engines`);
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
  if (key.family !== service.family) throw notSupported(`${id}: another address family`);
  if (settings.method !== 'nat') {
    throw notSupported(`${id}: forwarding method ${settings.method}`);
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
  const first = Number(address.split('.')[0]);
  return first > 0 && first < 224;
}
