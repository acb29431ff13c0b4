/** A command in the words of `xvsadm`, as somebody would type it: for the daemon's audit. */
import type { Command, ServerSettings } from '../control/protocol';
import { NUMERIC_NAMES } from './names';
import { formatEndpoint } from './print';
import { serverSettingWords, serviceSettingWords, serviceWords } from './save';

type ServerCommand = Extract<Command, { readonly server: unknown }>;

function serverWords(command: ServerCommand): string {
  const { family, address, port } = command.server;
  const { protocol } = command.service;
  return `-r ${formatEndpoint(family, address, port, protocol, NUMERIC_NAMES)}`;
}

function thresholdWords({ upperThreshold, lowerThreshold }: ServerSettings): string {
  const upper = upperThreshold === 0 ? '' : ` -x ${upperThreshold}`;
  return lowerThreshold === 0 ? upper : `${upper} -y ${lowerThreshold}`;
}

function optionWords(command: Command): string {
  if (command.command === 'flush') return '-C';
  if (command.command === 'set-timeouts') {
    const { tcp, tcpFin, udp } = command.timeouts;
    return `--set ${tcp} ${tcpFin} ${udp}`;
  }
  if (command.service === null) return '-Z';
  const service = serviceWords(command.service, NUMERIC_NAMES);
  switch (command.command) {
    case 'add-service':
    case 'edit-service': {
      const option = command.command === 'add-service' ? '-A' : '-E';
      const settings = serviceSettingWords({ ...command.service, ...command.settings });
      return `${option} ${service} ${settings}`;
    }
    case 'delete-service':
      return `-D ${service}`;
    case 'add-server':
    case 'edit-server': {
      const option = command.command === 'add-server' ? '-a' : '-e';
      const settings = serverSettingWords(command.settings) + thresholdWords(command.settings);
      return `${option} ${service} ${serverWords(command)} ${settings}`;
    }
    case 'delete-server':
      return `-d ${service} ${serverWords(command)}`;
    case 'add-local-address':
      return `--add-laddr ${service} -z ${command.address}`;
    case 'delete-local-address':
      return `--del-laddr ${service} -z ${command.address}`;
    case 'zero':
      return `-Z ${service}`;
  }
}

export function commandWords(command: Command): string {
  return `xvsadm ${optionWords(command)}`;
}
