/** What ip(8) prints as JSON, read: interfaces with their XDP programs, and routes to addresses. */
import type { LinkFact, RouteFact } from '../facts';
import { run } from './run';

interface LinkJson {
  readonly ifindex: number;
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly address?: string;
  readonly master?: string;
  readonly link?: string;
  readonly linkinfo?: { readonly info_kind?: string };
  readonly xdp?: { readonly mode?: number };
}
interface RouteJson {
  readonly type?: string;
  readonly dst: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly via?: { readonly host: string };
  readonly metrics?: readonly { readonly mtu?: number }[];
}

/** IFLA_XDP_ATTACHED: 1 = driver, 2 = skb, 3 = hardware, 4 = several. */
const XDP_MODES = ['none', 'native', 'generic', 'offloaded', 'native'] as const;
const UNREACHABLE = ['unreachable', 'blackhole', 'prohibit'];

/** Of `ip -j -d link show`. */
export function parseLinks(text: string): LinkFact[] {
  return (JSON.parse(text) as LinkJson[]).map((link) => ({
    index: link.ifindex,
    name: link.ifname,
    kind: link.linkinfo?.info_kind ?? '',
    mtu: link.mtu,
    up: link.flags.includes('UP') && link.flags.includes('LOWER_UP'),
    mac: link.address ?? '',
    master: link.master ?? '',
    // Of a veth it is the other end.
    parent: link.linkinfo?.info_kind === 'veth' ? '' : (link.link ?? ''),
    xdp: XDP_MODES[link.xdp?.mode ?? 0] ?? 'native',
  }));
}

/** Of `ip -j -batch -` with a "route get" for each address; without an answer there is none. */
export function parseRoutes(text: string, addresses: readonly string[]): Map<string, RouteFact> {
  const none: RouteFact = { kind: 'none', interface: '', gateway: '', mtu: 0 };
  const routes = new Map(addresses.map((address) => [address, none]));
  for (const line of text.split('\n')) {
    if (!line.startsWith('[{')) continue;
    for (const route of JSON.parse(line) as RouteJson[]) {
      if (UNREACHABLE.includes(route.type ?? '')) continue;
      routes.set(route.dst, {
        kind: route.type === 'local' ? 'local' : 'unicast',
        interface: route.dev ?? '',
        gateway: route.gateway ?? route.via?.host ?? '',
        mtu: route.metrics?.find(({ mtu }) => mtu !== undefined)?.mtu ?? 0,
      });
    }
  }
  return routes;
}

export function readLinks(): LinkFact[] {
  const { stdout, stderr, status } = run(['ip', '-j', '-d', 'link', 'show']);
  if (status !== 0) throw new Error(`ip -j -d link show: ${stderr.trim()}`);
  return parseLinks(stdout);
}

export function readRoutes(addresses: readonly string[]): Map<string, RouteFact> {
  if (addresses.length === 0) return new Map();
  const lines = addresses.map((address) => `route get ${address}\n`).join('');
  return parseRoutes(run(['ip', '-force', '-j', '-batch', '-'], lines).stdout, addresses);
}
