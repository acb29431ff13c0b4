/** What one row of the pipeline bench measures: method, family, protocol, kind of tunnel. */

export const METHODS = ['nat', 'dr', 'tunnel', 'fullnat'] as const;
export type Method = (typeof METHODS)[number];
export type Protocol = 'udp' | 'tcp';
export type TunnelName = 'ipip' | 'gue' | 'gre';

/** Plain data: it goes to the process that measures it. */
export interface Row {
  readonly name: string;
  readonly method: Method;
  readonly family: 4 | 6;
  readonly protocol: Protocol;
  /** Without meaning for other methods. */
  readonly tunnel: TunnelName;
  readonly flows: number;
}

export function makeRow(
  method: Method,
  family: 4 | 6,
  protocol: Protocol,
  flows: number,
  tunnel: TunnelName = 'ipip',
): Row {
  const kind = method === 'tunnel' ? `tunnel-${tunnel}` : method;
  return { name: `${kind} IPv${family}`, method, family, protocol, tunnel, flows };
}

/** With these the real server answers its client directly: the director sees requests only. */
export function isOneWay({ method }: Row): boolean {
  return method === 'dr' || method === 'tunnel';
}

const ETHERNET_BYTES = 14;
const IP_BYTES = { 4: 20, 6: 40 } as const;
/** UDP has 18 bytes of payload, TCP none: with IPv4 the least that Ethernet allows. */
export const TRANSPORT_BYTES = { udp: 26, tcp: 20 } as const;
const ETHERNET_FRAME_BYTES_MIN = 60;

/** Of a row's frames as they arrive, without frame check sequence. */
export function frameBytes({ family, protocol }: Row): number {
  const bytes = ETHERNET_BYTES + IP_BYTES[family] + TRANSPORT_BYTES[protocol];
  return Math.max(ETHERNET_FRAME_BYTES_MIN, bytes);
}

/** Prepared frames are kept in whole cache lines. */
export function frameStride(row: Row): number {
  return Math.ceil(frameBytes(row) / 64) * 64;
}
