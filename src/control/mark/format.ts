/** Mark rules as `iptables -S` prints them. */
import { SocketAddress } from 'node:net';
import { formatIpv4 } from '../../net/address';
import type { MarkCommand } from '../protocol';
import type { AddressMatch, MarkRule, PortListMatch, PortMatch, PortRange } from './rule';
import { protocolName } from './values';

const PLAIN_COMMENT = /^[-\w]+$/;

function not(inverted: boolean): string {
  return inverted ? '! ' : '';
}

function hexadecimal(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

function addressText(words: readonly number[], family: 4 | 6): string {
  if (family === 4) return formatIpv4(words[0]!);
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  const address = groups.map((group) => group.toString(16)).join(':');
  return new SocketAddress({ address, family: 'ipv6' }).address;
}

/** Bits in front, or null when the mask has holes. */
function prefixLength(mask: readonly number[], family: 4 | 6): number | null {
  const bits = mask
    .slice(0, family === 4 ? 1 : 4)
    .map((word) => (word >>> 0).toString(2).padStart(32, '0'))
    .join('');
  return /^1*0*$/.test(bits) ? bits.lastIndexOf('1') + 1 : null;
}

function addressParts(option: string, match: AddressMatch | null, family: 4 | 6): string[] {
  if (match === null) return [];
  const tail = prefixLength(match.mask, family) ?? addressText(match.mask, family);
  return [`${not(match.inverted)}${option} ${addressText(match.address, family)}/${tail}`];
}

function rangeText({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}:${last}`;
}

function portParts(option: string, match: PortMatch | null): string[] {
  return match === null ? [] : [`${not(match.inverted)}${option} ${rangeText(match.range)}`];
}

const LIST_OPTIONS = { source: '--sports', destination: '--dports', either: '--ports' } as const;

function listParts(list: PortListMatch | null): string[] {
  if (list === null) return [];
  const ports = list.ranges.map(rangeText).join(',');
  return [`-m multiport ${not(list.inverted)}${LIST_OPTIONS[list.side]} ${ports}`];
}

function commentText(comment: string): string {
  return PLAIN_COMMENT.test(comment) ? comment : `"${comment.replace(/["'\\]/g, '\\$&')}"`;
}

/** Matches and target, without command and chain. */
export function formatRule(rule: MarkRule): string {
  const { protocol, mark, family } = rule;
  const parts = [
    ...addressParts('-s', rule.source, family),
    ...addressParts('-d', rule.destination, family),
  ];
  if (rule.interface !== null) {
    parts.push(`${not(rule.interface.inverted)}-i ${rule.interface.name}`);
  }
  if (protocol !== null) {
    parts.push(`${not(protocol.inverted)}-p ${protocolName(protocol.number)}`);
  }
  const ports = [
    ...portParts('--sport', rule.sourcePorts),
    ...portParts('--dport', rule.destinationPorts),
  ];
  if (ports.length > 0) parts.push(`-m ${protocolName(protocol?.number ?? 0)}`, ...ports);
  parts.push(...listParts(rule.portList));
  if (mark !== null) {
    const mask = mark.mask === 0xffffffff ? '' : `/${hexadecimal(mark.mask)}`;
    parts.push(`-m mark ${not(mark.inverted)}--mark ${hexadecimal(mark.value)}${mask}`);
  }
  if (rule.comment !== null) parts.push(`-m comment --comment ${commentText(rule.comment)}`);
  parts.push(`-j MARK --set-xmark ${hexadecimal(rule.value)}/${hexadecimal(rule.mask)}`);
  return parts.join(' ');
}

/** The chain as `iptables -t mangle -S PREROUTING` prints it; IPv6 rules begin with -6. */
export function formatChain(rules: readonly string[], family: 4 | 6): string {
  const head = family === 6 ? '-6 ' : '';
  const lines = rules.map((rule) => `${head}-A PREROUTING ${rule}\n`);
  return `${head}-P PREROUTING ACCEPT\n${lines.join('')}`;
}

/** A change as `xvs mark` asks for it, and how many rules it is about (0: all there are). */
export function describeCommand(command: MarkCommand): { words: string; rules: number } {
  const { family, operation } = command;
  const head = `xvs mark${family === null ? '' : ` -${family}`}`;
  if (operation === 'flush') return { words: `${head} -F`, rules: 0 };
  if (operation === 'delete-number') {
    return { words: `${head} -D PREROUTING ${command.number}`, rules: 1 };
  }
  const { rules } = command;
  const option = { append: '-A', insert: '-I', delete: '-D' }[operation];
  const place = operation === 'insert' ? `PREROUTING ${command.position}` : 'PREROUTING';
  return { words: `${head} ${option} ${place} ${rules.join('; ')}`, rules: rules.length };
}
