/**
 * The C contender: a child process on the same CPU that works on a copy of xvs's own tables, in
 * turns with xvs.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { CONNECTION_SERVER_BITS, IN_PACKETS_MAX, IN_PACKETS_SHIFT } from '#xvs/table/connection';
import { COUNTER, realServerTraffic, serviceTraffic } from '#xvs/table/counter';
import { SETTING } from '#xvs/table/setting';
import { compileProgram } from '../support/compile';
import type { World } from './world';

export type Loop = 'plain' | 'prefetch';
export const LOOPS: readonly Loop[] = ['plain', 'prefetch'];
const ANSWER_MS = 60_000;

export class CContender {
  readonly #folder = mkdtempSync(join(tmpdir(), 'xvs-bench-'));
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;

  /** Copies tables and frames as they are now. */
  constructor(world: World, frames: Uint8Array, cpu: number) {
    const program = compileProgram('bench/pipeline/contenderInC.c');
    const { memory } = world;
    const { connections } = world.tables;
    const parts: Readonly<Record<string, SharedArrayBuffer | Int32Array>> = {
      entries: connections.entries,
      index: connections.index,
      realServers: memory.realServers,
      counters: memory.counters[0]!,
      settings: memory.settings,
      links: memory.nextHops.links,
      neighbours: memory.nextHops.neighbours,
      shared: memory.nextHops.shared,
    };
    for (const [name, buffer] of Object.entries(parts)) {
      writeFileSync(join(this.#folder, name), bytesOf(buffer));
    }
    writeFileSync(join(this.#folder, 'frames'), frames);
    writeFileSync(join(this.#folder, 'layout'), layoutOf(world).join('\n'));
    const count = String(frames.length / 64);
    const words = [program, this.#folder, count, String(world.umem.clock[0])];
    this.#child = spawn('taskset', ['-c', String(cpu), ...words], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  async #ask(command: string): Promise<string> {
    const answer = new Promise<string>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`C contender: no answer to '${command}' in ${ANSWER_MS} ms`)),
        ANSWER_MS,
      );
      const ended = () => {
        clearTimeout(timer);
        reject(new Error(`C contender ended at '${command}'`));
      };
      this.#child.once('close', ended);
      this.#lines.once('line', (line) => {
        clearTimeout(timer);
        this.#child.removeListener('close', ended);
        resolve(line);
      });
    });
    this.#child.stdin.write(`${command}\n`);
    return answer;
  }

  /** Takes the tables as they were copied. */
  async load(): Promise<void> {
    await this.#ask('load');
  }

  /** One pass: what was sent, then the tables that change. */
  async verify(loop: Loop): Promise<Buffer> {
    await this.#ask(`verify ${loop}`);
    return readFileSync(join(this.#folder, 'result'));
  }

  /** Nanoseconds a packet, in the median batch of so many packets. */
  async run(loop: Loop, packets: number): Promise<number> {
    return Number(await this.#ask(`run ${loop} ${packets}`));
  }

  close(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Where tables have what the contender needs, in the order of its enum layout. */
function layoutOf(world: World): number[] {
  const { settings } = world.tables;
  return [
    COUNTER.rx_frames,
    COUNTER.rx_bytes,
    COUNTER.tx_frames,
    COUNTER.tx_bytes,
    COUNTER.foreign_packets,
    COUNTER.checksums_unfinished,
    serviceTraffic(0),
    realServerTraffic(0),
    settings.timeouts.byteOffset / 4,
    SETTING.at.serviceCount,
    SETTING.at.expireNodestConn,
    SETTING.at.secureTcp,
    settings.hashSeed,
    CONNECTION_SERVER_BITS,
    IN_PACKETS_SHIFT,
    IN_PACKETS_MAX,
  ];
}

/** All bytes of a buffer, or those of a view. */
export function bytesOf(part: SharedArrayBuffer | Int32Array): Uint8Array {
  if (part instanceof SharedArrayBuffer) return new Uint8Array(part);
  return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
}
