/** What /proc and /sys tell: settings, sockets, counters, limits, CPUs. Parsers and their files. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addressText, hostAddress } from '../../netlink';
import type { InterruptFact } from '../facts';

const CAP_IPC_LOCK = 14n;
const LOCKED_MEMORY = /^Max locked memory\s+(\S+)/m;

/** A file's text without the newline at its end; '' when it cannot be read. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trimEnd();
  } catch {
    return '';
  }
}

export function readSysctls(interfaces: readonly string[]): ReadonlyMap<string, number> {
  const names = ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', 'vm.overcommit_memory'];
  for (const name of ['rp_filter', 'arp_ignore', 'arp_announce']) {
    for (const scope of ['all', ...interfaces]) names.push(`net.ipv4.conf.${scope}.${name}`);
  }
  const values = new Map<string, number>();
  for (const name of names) {
    // An interface's name may hold dots.
    const [, scope] = /^net\.ipv4\.conf\.(.+)\.\w+$/.exec(name) ?? [];
    const parts =
      scope === undefined
        ? name.split('.')
        : ['net', 'ipv4', 'conf', scope, name.split('.').at(-1)!];
    const text = textOf(join('/proc/sys', ...parts));
    if (text !== '') values.set(name, Number(text));
  }
  return values;
}

/** "0-2,5" */
export function cpuList(text: string): number[] {
  if (text === '') return [];
  return text.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  });
}

export function readCpuNodes(): ReadonlyMap<number, number> {
  const root = '/sys/devices/system/node';
  const nodes = existsSync(root) ? readdirSync(root).filter((name) => /^node\d+$/.test(name)) : [];
  return new Map(
    nodes.flatMap((name) =>
      cpuList(textOf(join(root, name, 'cpulist'))).map(
        (cpu) => [cpu, Number(name.slice(4))] as const,
      ),
    ),
  );
}

export function readInterrupts(device: string): InterruptFact[] {
  // A virtio card's interrupts are those of the PCI device that it is on.
  const places = [join(device, 'msi_irqs'), join(device, '..', 'msi_irqs')];
  const folder = places.find((path) => existsSync(path));
  if (folder === undefined) return [];
  return readdirSync(folder).map((number) => ({
    number: Number(number),
    cpus: cpuList(textOf(`/proc/irq/${number}/effective_affinity_list`)),
  }));
}

/** Sum of one counter of /proc/net/netstat: a line of names, then one of values. */
export function netstatCounter(text: string, group: string, name: string): number {
  const [names, values] = text
    .split('\n')
    .filter((line) => line.startsWith(`${group}:`))
    .map((line) => line.split(' '));
  const at = names?.indexOf(name) ?? -1;
  return at < 0 ? 0 : Number(values?.[at] ?? 0);
}

export function readReversePathDrops(): number {
  return netstatCounter(textOf('/proc/self/net/netstat'), 'TcpExt', 'IPReversePathFilter');
}

/** Far ends in /proc/net/tcp and its like, as "ADDRESS:PORT"; words are in host byte order. */
export function socketPeers(text: string): string[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [address = '', port = ''] = line.trim().split(/\s+/)[2]?.split(':') ?? [];
      if (port === '' || /^0+$/.test(port)) return [];
      const bytes = Buffer.from(address, 'hex').swap32();
      const number = Number.parseInt(port, 16);
      const isMapped = bytes.length === 16 && bytes.readUInt32BE(8) === 0xffff;
      const host = hostAddress(isMapped ? bytes.subarray(12) : bytes);
      if (host === null) return [];
      const shown = addressText(host);
      return [shown.includes(':') ? `[${shown}]:${number}` : `${shown}:${number}`];
    });
}

export function readSocketPeers(): string[] {
  return (['tcp', 'udp'] as const).flatMap((protocol) =>
    [protocol, `${protocol}6`].flatMap((file) =>
      socketPeers(textOf(`/proc/self/net/${file}`)).map((peer) => `${protocol} ${peer}`),
    ),
  );
}

export interface MemoryLimits {
  readonly lockedMemoryMax: number | null;
  readonly mayLockMemory: boolean;
}

/** Of a process. */
export function readLimits(pid: number | 'self'): MemoryLimits {
  const limit = LOCKED_MEMORY.exec(textOf(`/proc/${pid}/limits`))?.[1] ?? 'unlimited';
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(textOf(`/proc/${pid}/status`))?.[1] ?? '0';
  return {
    lockedMemoryMax: limit === 'unlimited' ? null : Number(limit),
    mayLockMemory: ((BigInt(`0x${capabilities}`) >> CAP_IPC_LOCK) & 1n) === 1n,
  };
}
