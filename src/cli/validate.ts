/**
 * A ParsedLine to a Request: which option goes with which command, in the order in which ipvsadm
 * looks, so that a line with several faults is refused for the same one.
 */
import type { ServerKey, ServerSettings, ServiceKey, ServiceSettings } from '../control/protocol';
import {
  COMMAND_RULES,
  type CommandName,
  type CommandRule,
  OPTIONS,
  type OptionName,
  TUNNEL_OPTIONS,
  TUNNEL_RULES,
} from './options';
import type { ParsedLine } from './parse';
import { type ListFormat, type OutputView, type Request, usage } from './request';

const DEFAULT_SCHEDULER = 'wlc';
const DEFAULT_SYNC_INTERFACE = 'eth0';

function checkRule(
  given: ReadonlySet<OptionName>,
  considered: readonly OptionName[],
  rule: CommandRule,
  where: string,
): void {
  let earlier: OptionName | null = null;
  for (const option of considered) {
    if (!given.has(option)) {
      if (!rule.compulsory.includes(option)) continue;
      throw usage(`You need to supply the '${option}' option for the ${where}`);
    }
    if (rule.oneOf.includes(option)) {
      if (earlier !== null) {
        throw usage(
          `The option '${option}' conflicts with the '${earlier}' option in the ${where}`,
        );
      }
      earlier = option;
    } else if (!rule.compulsory.includes(option) && !rule.optional.includes(option)) {
      throw usage(`Illegal '${option}' option with the ${where}`);
    }
  }
}

function serviceKey(line: ParsedLine): ServiceKey {
  return {
    family: line.family ?? 4,
    protocol: line.protocol ?? 'tcp',
    address: line.address,
    port: line.port,
    fwmark: line.fwmark,
  };
}

function serviceSettings(line: ParsedLine): ServiceSettings {
  if (line.fwmark === 0 && line.port === 0 && !line.options.has('persistent')) {
    throw usage('Zero port specified for non-persistent service');
  }
  if (line.onePacket && line.fwmark === 0 && line.protocol !== 'udp') {
    throw usage('One-Packet Scheduling is only for UDP virtual services');
  }
  return {
    scheduler: line.scheduler === '' ? DEFAULT_SCHEDULER : line.scheduler,
    persistentTimeout: line.persistentTimeout,
    netmask: line.netmask,
    onePacket: line.onePacket,
    schedulerFlags: line.schedulerFlags,
    persistenceEngine: line.persistenceEngine,
  };
}

/** The server's key; `portOfService`: direct routing and tunnels cannot change the port. */
function serverKey(line: ParsedLine, portOfService: boolean): ServerKey {
  if (line.server === null) throw new Error('a server command without -r passed the option table');
  const { family, address, port } = line.server;
  return { family, address, port: portOfService ? line.port : port };
}

function checkServer(line: ParsedLine): void {
  if (line.server?.family !== line.family && line.method !== 'tunnel') {
    throw usage('Different address family is allowed only for tunneling servers');
  }
  const tunnelOptionGiven = OPTIONS.some(
    (option) =>
      line.options.has(option) && (option === 'tun-type' || TUNNEL_OPTIONS.includes(option)),
  );
  if (tunnelOptionGiven && line.method !== 'tunnel') {
    throw usage('Tunnel options conflict with forward method');
  }
  const rule = TUNNEL_RULES[line.tunnelType];
  if (line.method === 'tunnel') {
    checkRule(line.options, TUNNEL_OPTIONS, rule, `'${line.tunnelType}' tunnel type`);
  }
}

function serverSettings(line: ParsedLine): ServerSettings {
  return {
    method: line.method,
    weight: line.weight,
    upperThreshold: line.upperThreshold,
    lowerThreshold: line.lowerThreshold,
    tunnel: { type: line.tunnelType, port: line.tunnelPort, checksum: line.tunnelChecksum },
  };
}

/** The first of these that was given decides the table's columns. */
const VIEWS = ['stats', 'rate', 'thresholds', 'persistent-conn', 'tun-info'] as const;

function listRequest(line: ParsedLine, json: boolean): Request {
  const given = line.options;
  const special = given.has('connection') || given.has('timeout') || given.has('daemon');
  const counters = given.has('stats') || given.has('rate') || given.has('thresholds');
  const notConnections = given.has('timeout') || given.has('daemon');
  if ((special && counters) || (notConnections && given.has('persistent-conn'))) {
    throw usage('options conflicts in the list command');
  }
  const view: OutputView = VIEWS.find((name) => given.has(name)) ?? 'default';
  const format: ListFormat = {
    view,
    numeric: given.has('numeric'),
    exact: given.has('exact'),
    sorted: !given.has('nosort'),
    json,
  };
  if (given.has('connection')) return { kind: 'list-connections', format };
  if (given.has('timeout')) return { kind: 'list-timeouts', format };
  if (given.has('daemon')) return { kind: 'list-daemons', format };
  const service = given.has('service-address') ? serviceKey(line) : null;
  return { kind: 'list-services', service, format };
}

function serverRequest(line: ParsedLine, command: 'add-server' | 'edit-server'): Request {
  checkServer(line);
  const portOfService = line.fwmark === 0 && (line.method === 'dr' || line.method === 'tunnel');
  return {
    kind: 'command',
    command: {
      command,
      service: serviceKey(line),
      server: serverKey(line, portOfService),
      settings: serverSettings(line),
    },
  };
}

function localAddressRequest(
  line: ParsedLine,
  command: 'add-local-address' | 'delete-local-address',
): Request {
  const { localAddress: address } = line;
  return { kind: 'command', command: { command, service: serviceKey(line), address } };
}

function syncRequest(line: ParsedLine, command: 'start-daemon' | 'stop-daemon'): Request {
  if (command === 'stop-daemon') {
    return { kind: 'command', command: { command, role: line.role, syncId: line.syncId } };
  }
  return {
    kind: 'command',
    command: {
      command,
      role: line.role,
      interface: line.syncInterface === '' ? DEFAULT_SYNC_INTERFACE : line.syncInterface,
      syncId: line.syncId,
      maxLength: line.syncMaxLength,
      group: line.syncGroup,
      port: line.syncPort,
      ttl: line.syncTtl,
    },
  };
}

function buildRequest(line: ParsedLine, command: CommandName, json: boolean): Request {
  switch (command) {
    case 'add-service':
    case 'edit-service': {
      const settings = serviceSettings(line);
      return { kind: 'command', command: { command, service: serviceKey(line), settings } };
    }
    case 'delete-service':
      return { kind: 'command', command: { command, service: serviceKey(line) } };
    case 'add-server':
    case 'edit-server':
      return serverRequest(line, command);
    case 'delete-server': {
      const server = serverKey(line, false);
      return { kind: 'command', command: { command, service: serviceKey(line), server } };
    }
    case 'flush':
      return { kind: 'command', command: { command } };
    case 'zero': {
      const service = line.options.has('service-address') ? serviceKey(line) : null;
      return { kind: 'command', command: { command, service } };
    }
    case 'set': {
      const [tcp, tcpFin, udp] = line.timeouts;
      return {
        kind: 'command',
        command: { command: 'set-timeouts', timeouts: { tcp, tcpFin, udp } },
      };
    }
    case 'start-daemon':
    case 'stop-daemon':
      return syncRequest(line, command);
    case 'list':
      return listRequest(line, json);
    case 'add-laddr':
      return localAddressRequest(line, 'add-local-address');
    case 'del-laddr':
      return localAddressRequest(line, 'delete-local-address');
    case 'get-laddr': {
      const service = line.options.has('service-address') ? serviceKey(line) : null;
      return { kind: 'list-local-addresses', service, json };
    }
    case 'save':
      return { kind: 'save', numeric: line.options.has('numeric') };
    case 'restore':
      return { kind: 'restore' };
  }
}

/** Throws UsageError. `json`: our own `--json`, for listings only. */
export function validateLine(line: ParsedLine, json: boolean): Request {
  const { command } = line;
  checkRule(line.options, OPTIONS, COMMAND_RULES[command], `'${command}' command`);
  if (json && command !== 'list' && command !== 'get-laddr')
    throw usage(`Illegal 'json' option with the '${command}' command`);
  return buildRequest(line, command, json);
}
