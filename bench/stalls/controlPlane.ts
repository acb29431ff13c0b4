/**
 * The control plane of the stalls bench: that of the daemon on the worker's tables, its pool for
 * listings among it, and a starter of tools in a process of its own.
 */
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { ConnectionDump } from '#xvs/control/connectionDump';
import { parseConnectionQuery } from '#xvs/control/connectionQuery';
import { Pool } from '#xvs/control/pool';
import type { DirectorMemory } from '#xvs/table/memory';
import { KEPT_ADDRESS } from '../control/settings';
import { Starter } from '../control/starter';
import { BenchControlPlane, Scratch } from '../support/controlPlane';

export class ControlPlane {
  readonly #scratch = new Scratch('stalls');
  readonly #pool = new Pool();
  readonly #starter: Starter;
  #plane: BenchControlPlane | undefined;

  constructor(controlCpu: number) {
    this.#starter = new Starter(controlCpu);
  }

  /** `tick`: the worker's clock. */
  async open(memory: DirectorMemory, tick: () => number): Promise<void> {
    const dump = new ConnectionDump(memory, this.#pool);
    this.#plane = new BenchControlPlane(this.#scratch.folder, {
      ...{ memory, tick, keptAddress: KEPT_ADDRESS },
      connections: (query) => dump.connections(tick(), parseConnectionQuery(query)),
    });
    await this.#plane.open();
  }

  get socket(): string {
    return this.#plane!.socket;
  }

  get services(): number {
    return this.#plane!.counts.services;
  }

  /** One page of metrics. Returns its length in bytes. */
  async scrape(): Promise<number> {
    const request = get(this.#plane!.metricsUrl);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    let bytes = 0;
    for await (const data of response) bytes += (data as Buffer).length;
    return bytes;
  }

  /** Runs a tool to its end, on the control plane's CPU. Throws when it fails. */
  async launch(command: readonly string[]): Promise<void> {
    const { status, stderr } = await this.#starter.launch(command);
    if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr.trim()}`);
  }

  forget(): void {
    this.#plane!.forget();
  }

  write(name: string, text: string): string {
    return this.#scratch.write(name, text);
  }

  async close(): Promise<void> {
    this.#starter.close();
    await this.#plane?.close();
    await this.#pool.close();
    this.#scratch.close();
  }
}
