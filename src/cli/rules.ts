/**
 * A file in xvsadm-save's format (config key `rules`) to the director's commands. Host names in
 * it are looked up in /etc/hosts only: at boot there may be no resolver to wait for.
 */
import { readFileSync } from 'node:fs';
import type { Command } from '../control/protocol';
import { parseIpv4 } from './addressText';
import { parseRequest } from './grammar';
import { type NameSource, systemNames, UnresolvedHost } from './names';
import { UsageError } from './request';
import { splitRules } from './restore';

export interface RulesError {
  readonly line: number;
  readonly message: string;
}

export interface Rules {
  readonly commands: readonly Command[];
  /** Line of each command, from 1. */
  readonly lines: readonly number[];
  readonly errors: readonly RulesError[];
}

const LOOPBACK = 0x7f000001;

/** hosts(5): first IPv4 address of each name; ::1 counts as 127.0.0.1, as in the C library. */
export function parseHosts(text: string): ReadonlyMap<string, number> {
  const hosts = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [address = '', ...hostNames] = line.replace(/#.*/, '').trim().split(/\s+/);
    const value = address === '::1' ? LOOPBACK : parseIpv4(address);
    if (value === null) continue;
    for (const name of hostNames) if (!hosts.has(name)) hosts.set(name, value);
  }
  return hosts;
}

function hostsFileNames(): NameSource {
  let hosts: ReadonlyMap<string, number> | null = null;
  const services = systemNames(new Map());
  return {
    hostAddress(name) {
      hosts ??= parseHosts(readFileSync('/etc/hosts', 'utf8'));
      const address = hosts.get(name);
      if (address === undefined) throw new UnresolvedHost(name);
      return address;
    },
    servicePort: (name, protocol) => services.servicePort(name, protocol),
  };
}

/** All lines are read, all errors reported; comment lines (#) are allowed. */
export function parseRules(text: string, names: NameSource = hostsFileNames()): Rules {
  const commands: Command[] = [];
  const lines: number[] = [];
  const errors: RulesError[] = [];
  for (const { number, words } of splitRules(`${text}\n`)) {
    if (words[0]?.startsWith('#')) continue;
    const refuse = (message: string): void => {
      errors.push({ line: number, message: `${message.trim()} (in "${words.join(' ')}")` });
    };
    try {
      const request = parseRequest(words, 'xvsadm', names);
      if (request.kind !== 'command') refuse('only commands that change the table may stand here');
      else if (request.command.command === 'start-daemon')
        refuse('connection sync: not supported yet');
      else if (request.command.command === 'stop-daemon')
        refuse('connection sync: not supported yet');
      else {
        commands.push(request.command);
        lines.push(number);
      }
    } catch (error) {
      if (error instanceof UsageError) refuse(error.message);
      else if (error instanceof UnresolvedHost) {
        refuse(`host "${error.host}" is not in /etc/hosts: write its address (xvsadm-save -n)`);
      } else throw error;
    }
  }
  return { commands, lines, errors };
}
