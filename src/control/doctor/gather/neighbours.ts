/**
 * Asks who is there: next hops to real servers, and whether anybody else has the director's virtual
 * addresses. The kernel asks (ARP, neighbour discovery), by entries of its own neighbour table.
 * Those made for virtual addresses are taken out again, and what the daemon set in others is kept.
 */
import { isIPv4 } from 'node:net';
import { addressBytes } from '../../../net/address';
import { addon } from '../../../port/addon';
import {
  AF_UNSPEC,
  addressText,
  hostAddress,
  NTF_EXT_LEARNED,
  NTF_EXT_MANAGED,
  NTF_PROXY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_REACHABLE,
} from '../../netlink';
import { NetlinkSocket, ofKind } from '../../netlinkSocket';
import type { ClaimFact, LinkFact, NeighbourFact } from '../facts';
import { run } from './run';

/** For an answer from the same network; nobody else having the address, it is waited in vain. */
const ANSWER_MS = 700;
/** The kernel asks once a second, and gives up after the third time. */
const NEXT_HOP_MS = 3600;
const POLL_MS = 50;
const PROBES_MAX = 256;

export interface Probe {
  readonly address: string;
  readonly interface: string;
}

const keyOf = (probe: Probe): string => `${probe.interface} ${probe.address}`;

/** An entry of the kernel's table, with what must be kept of it when it is asked for. */
interface Entry extends NeighbourFact {
  readonly flags: number;
  readonly managed: boolean;
}

async function readEntries(
  socket: NetlinkSocket,
  links: readonly LinkFact[],
): Promise<Map<string, Entry>> {
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const entries = new Map<string, Entry>();
  for (const message of ofKind(await socket.dump('neighbours', AF_UNSPEC), 'neighbour')) {
    const words = hostAddress(message.address);
    const name = names.get(message.index);
    if (words === null || name === undefined || (message.flags & NTF_PROXY) !== 0) continue;
    const entry = {
      address: addressText(words),
      interface: name,
      state: message.state,
      mac: Array.from(message.mac, (byte) => byte.toString(16).padStart(2, '0')).join(':'),
      flags: message.flags & NTF_EXT_LEARNED,
      managed: (message.flagsExtended & NTF_EXT_MANAGED) !== 0,
    };
    entries.set(keyOf(entry), entry);
  }
  return entries;
}

/** Neither unknown nor being asked for nor given up. */
function isResolved(entry: Entry | undefined): boolean {
  return entry !== undefined && (entry.state & ~(NUD_INCOMPLETE | NUD_FAILED)) !== 0;
}

/** Asks for each that is not resolved; waits until all have answered or failed, or `limitMs`. */
async function probe(
  socket: NetlinkSocket,
  probes: readonly Probe[],
  links: readonly LinkFact[],
  limitMs: number,
): Promise<ReadonlyMap<string, Entry>> {
  const indexes = new Map(links.map(({ index, name }) => [name, index]));
  const before = await readEntries(socket, links);
  const wanted = new Set<string>();
  for (const one of probes.slice(0, PROBES_MAX)) {
    const key = keyOf(one);
    const index = indexes.get(one.interface);
    const known = before.get(key);
    if (index === undefined || wanted.has(key) || isResolved(known)) continue;
    const address = addressBytes(one.address).subarray(0, isIPv4(one.address) ? 4 : 16);
    const { flags = 0, managed = false } = known ?? {};
    try {
      await socket.useNeighbour({ index, address, flags, managed, protocol: 0 });
      wanted.add(key);
    } catch {
      // An interface that is down, or has no addresses of the family: its own check says so.
    }
  }
  const end = performance.now() + limitMs;
  for (;;) {
    const entries = await readEntries(socket, links);
    const isSettled = (key: string): boolean => {
      const { state = 0 } = entries.get(key) ?? {};
      return state !== 0 && (state & NUD_INCOMPLETE) === 0;
    };
    if ([...wanted].every(isSettled) || performance.now() >= end) return entries;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** All neighbours, once each of these next hops has been asked for. */
export async function probeNextHops(
  socket: NetlinkSocket,
  hops: readonly Probe[],
  links: readonly LinkFact[],
): Promise<NeighbourFact[]> {
  return [...(await probe(socket, hops, links, NEXT_HOP_MS)).values()];
}

/** Who else has one of these addresses. */
export async function probeClaims(
  addresses: readonly Probe[],
  links: readonly LinkFact[],
): Promise<ClaimFact[]> {
  const socket = new NetlinkSocket(addon);
  const asked = addresses.slice(0, PROBES_MAX);
  try {
    const before = await readEntries(socket, links);
    const entries = await probe(socket, asked, links, ANSWER_MS);
    const made = asked.filter((one) => !before.has(keyOf(one)));
    const lines = made.map((one) => `neighbour del ${one.address} dev ${one.interface}\n`).join('');
    if (made.length > 0) run(['ip', '-force', '-batch', '-'], lines);
    const own = new Set(links.map(({ mac }) => mac));
    return asked.flatMap((one) => {
      const entry = entries.get(keyOf(one));
      const answered = entry !== undefined && (entry.state & NUD_REACHABLE) !== 0;
      return answered && !own.has(entry.mac) ? [{ ...one, mac: entry.mac }] : [];
    });
  } finally {
    socket.close();
  }
}
