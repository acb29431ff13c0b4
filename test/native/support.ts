/**
 * What the addon's tests share: veth pairs and namespaces of their own (names start with xvs-nat),
 * a UMEM with its free stack, keys of the XDP program's maps, frames. Needs root and iproute2.
 *
 * Sockets live in the namespace of the calling thread, so the director's ends of the veth pairs
 * stay in the namespace of the test, without addresses; the other ends go into namespaces.
 */
import { execFileSync, spawn } from 'node:child_process';
import { addon, type Umem, type XskSocket } from '#xvs/port/addon';
import { ipv4Bytes, ipv6Bytes } from '../support/packet';

export const RX_WORDS = 2;
export const TX_WORDS = 3;
export const CHUNK_SIZE = 2048;
export const ETHERNET_BYTES = 14;
export const TCP = 6;
export const UDP = 17;

export function ip(...words: string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Namespaces and links made by a test file; `remove` takes all of them away, in any state. */
export class Lab {
  private readonly namespaces: string[] = [];
  private readonly links: string[] = [];

  namespace(name: string): string {
    const full = `xvs-nat-${name}-${process.pid}`;
    ip('netns', 'add', full);
    this.namespaces.push(full);
    ip('-n', full, 'link', 'set', 'lo', 'up');
    return full;
  }

  /** A veth pair with both ends here and up; one that a killed run left behind goes first. */
  pair(name: string, peer: string): void {
    tryIp('link', 'delete', name);
    ip('link', 'add', name, 'type', 'veth', 'peer', 'name', peer);
    this.links.push(name);
    for (const end of [name, peer]) {
      // No router solicitations and the like of this host among the frames that are counted.
      execFileSync('sysctl', ['-q', '-w', `net.ipv6.conf.${end}.disable_ipv6=1`]);
      ip('link', 'set', end, 'up');
    }
  }

  /** A veth pair whose other end is `eth0` with an address in `namespace`. Returns its MAC. */
  cable(name: string, namespace: string, address: string): string {
    const peer = `${name}p`;
    this.pair(name, peer);
    ip('link', 'set', peer, 'netns', namespace, 'name', 'eth0');
    ip('-n', namespace, 'address', 'add', address, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    const shown = JSON.parse(ip('-j', '-n', namespace, 'link', 'show', 'eth0'));
    return shown[0].address;
  }

  remove(): void {
    for (const link of this.links.splice(0)) tryIp('link', 'delete', link);
    for (const namespace of this.namespaces.splice(0)) tryIp('netns', 'delete', namespace);
  }
}

function tryIp(...words: string[]): void {
  try {
    ip(...words);
  } catch {
    // Not there: a link goes with the namespace of its other end.
  }
}

export interface Memory {
  readonly umem: Umem;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly free: Int32Array;
  readonly clock: Int32Array;
  readonly chunkCount: number;
}

export function makeMemory(chunkCount: number, txMetadata = true): Memory {
  const buffer = new SharedArrayBuffer(chunkCount * CHUNK_SIZE + 4096);
  const offset = addon.pageOffset(buffer);
  const free = new Int32Array(chunkCount + 1);
  for (let chunk = 0; chunk < chunkCount; chunk++) free[1 + chunk] = chunk * CHUNK_SIZE;
  free[0] = chunkCount;
  const clock = new Int32Array(4);
  const options = { buffer, offset, chunkSize: CHUNK_SIZE, chunkCount, txMetadata, free, clock };
  const bytes = new Uint8Array(buffer, offset, chunkCount * CHUNK_SIZE);
  const view = new DataView(buffer, offset, chunkCount * CHUNK_SIZE);
  return { umem: addon.createUmem(options), bytes, view, free, clock, chunkCount };
}

export interface Opened {
  readonly socket: XskSocket;
  readonly rx: Int32Array;
  readonly tx: Int32Array;
  readonly counters: Float64Array;
}

export function openQueue(memory: Memory, name: string, queue = 0, ringSize = 256): Opened {
  const rx = new Int32Array(64 * RX_WORDS);
  const tx = new Int32Array(64 * TX_WORDS);
  const counters = new Float64Array(addon.SOCKET_COUNTERS.length);
  const socket = addon.openSocket(memory.umem, {
    interface: name,
    queue,
    ringSize,
    zeroCopy: 'auto',
    busyPollBudget: 0,
    rx,
    tx,
    counters,
  });
  return { socket, rx, tx, counters };
}

export function counter(opened: Opened, name: (typeof addon.SOCKET_COUNTERS)[number]): number {
  return opened.counters[addon.SOCKET_COUNTERS.indexOf(name)]!;
}

/** Takes a chunk off the free stack and returns where a frame in it begins. */
export function takeChunk(memory: Memory): number {
  const count = memory.free[0]!;
  if (count === 0) throw new Error('no free chunk');
  memory.free[0] = count - 1;
  return memory.free[count]! + memory.umem.headroom;
}

export function giveChunk(memory: Memory, offset: number): void {
  memory.free[0]!++;
  memory.free[memory.free[0]!] = offset - (offset % CHUNK_SIZE);
}

function addressBytes(address: string): number[] {
  return address.includes(':') ? ipv6Bytes(address) : ipv4Bytes(address);
}

function familyOf(address: string): number {
  return address.includes(':') ? 6 : 4;
}

/** Key of `services` and `real_servers`. */
export function endpointKey(address: string, port: number, protocol: number): Uint8Array {
  const key = new Uint8Array(24);
  key.set(addressBytes(address));
  new DataView(key.buffer).setUint16(16, port);
  key[18] = protocol;
  key[19] = familyOf(address);
  return key;
}

/** Key of `local_addresses`, `fragment_addresses` and the decapsulator's `vips`. */
export function addressKey(address: string): Uint8Array {
  const key = new Uint8Array(20);
  key.set(addressBytes(address));
  key[16] = familyOf(address);
  return key;
}

export function word(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** A child that runs a script of this folder in a namespace; its output, once it has ended. */
export function scriptIn(namespace: string, script: string, ...words: string[]) {
  const path = `${__dirname}/${script}.js`;
  const child = spawn('ip', ['netns', 'exec', namespace, process.execPath, path, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (data) => {
    text += data;
  });
  child.stderr.setEncoding('utf8').on('data', (data) => {
    errors += data;
  });
  const ended = new Promise<string>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(text);
      else reject(new Error(`${script} ended with ${code}\n${text}${errors}`));
    });
  });
  const started = new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
  return { child, ended, started };
}

export interface Thrown extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  readonly interface?: string;
  readonly queue?: number;
}

/** The error a call throws. */
export function thrownBy(call: () => unknown): Thrown {
  try {
    call();
  } catch (error) {
    return error as Thrown;
  }
  throw new Error('nothing was thrown');
}
