/**
 * AH and ESP (RFC 4302, RFC 4303) have no ports: they go where the ISAKMP connection of the same
 * two hosts does (UDP, port 500 to 500), as IPVS has it.
 */
import { PROTOCOL_AUTHENTICATION } from './ipv6';

export const PROTOCOL_ESP = 50;
export const PROTOCOL_AH = PROTOCOL_AUTHENTICATION;
/** source << 16 | destination. */
export const ISAKMP_PORTS = (500 << 16) | 500;

export function isIpsec(protocol: number): boolean {
  return protocol === PROTOCOL_ESP || protocol === PROTOCOL_AH;
}
