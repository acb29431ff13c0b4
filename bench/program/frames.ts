/** Small frames as the XDP program meets them, and what it must say of each. */
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { TYPE_IPV4, TYPE_IPV6 } from '#xvs/net/ethernet';
import { PROTOCOL_TCP, writeIpv4 } from '#xvs/net/ipv4';
import { writeIpv6Header } from '#xvs/net/ipv6';

export type Family = 4 | 6;

export interface Kind {
  readonly name: string;
  readonly verdict: string;
  readonly frame: Uint8Array;
}

type Endpoint = readonly [address: string, port: number];

const FRAME_BYTES = 74;
const ETHERNET = 14;
const TCP_BYTES = 20;
const TTL = 64;
const TYPE_ARP = 0x0806;

/** The bench's service, real servers, clients; `hosts` are neither. */
export const ADDRESSES = {
  4: { virtual: '198.51.100.1', server: '10.0.0.16', client: '172.16.0.1', host: '198.51.100.2' },
  6: { virtual: '2001:db8:1::1', server: 'fd00:2::10', client: '2001:db8:100::1', host: 'fd00::2' },
} as const;
export const VIRTUAL_PORT = 80;
export const SERVER_PORT = 8000;

function tcp(family: Family, source: Endpoint, destination: Endpoint): Uint8Array {
  const frame = new Uint8Array(FRAME_BYTES);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
  view.setUint16(12, family === 4 ? TYPE_IPV4 : TYPE_IPV6);
  const transport = ETHERNET + (family === 4 ? 20 : 40);
  if (family === 4) {
    const [from, to] = [parseIpv4(source[0]), parseIpv4(destination[0])];
    writeIpv4(view, ETHERNET, 0, 20 + TCP_BYTES, 0, PROTOCOL_TCP, TTL, from, to);
  } else {
    writeIpv6Header(view, ETHERNET, 0, TCP_BYTES, PROTOCOL_TCP, TTL);
    const words = [...addressWords(source[0]), ...addressWords(destination[0])];
    for (const [at, word] of words.entries()) view.setInt32(ETHERNET + 8 + at * 4, word);
  }
  view.setUint16(transport, source[1]);
  view.setUint16(transport + 2, destination[1]);
  return frame;
}

export function kindsOf(family: Family): readonly Kind[] {
  const { virtual, server, client, host } = ADDRESSES[family];
  const request = tcp(family, [client, 40000], [virtual, VIRTUAL_PORT]);
  const reply = tcp(family, [server, SERVER_PORT], [client, 40000]);
  const other = tcp(family, [client, 40000], [host, 22]);
  return [
    { name: `IPv${family}, to a service`, verdict: 'redirect_service', frame: request },
    { name: `IPv${family}, from a real server`, verdict: 'redirect_real_server', frame: reply },
    { name: `IPv${family}, the host's`, verdict: 'pass_no_match', frame: other },
  ];
}

/** What the program says nothing about: its cost is that of running a program at all. */
export function notIp(): Kind {
  const frame = new Uint8Array(FRAME_BYTES);
  new DataView(frame.buffer).setUint16(12, TYPE_ARP);
  return { name: 'not IP', verdict: 'pass_not_ip', frame };
}
