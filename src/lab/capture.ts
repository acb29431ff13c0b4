/**
 * What passes an interface while a lab runs: tcpdump in a host's namespace, its file read back
 * once it has ended. Frames that XDP takes never reach a capture on the director itself, so labs
 * listen on the other end of its cable.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from './namespace';
import { type CapturedFrame, readPcap } from './pcap';
import { eventually } from './process';
import type { Topology } from './topology';

const START_TIMEOUT_MS = 5000;
const STOP_TIMEOUT_MS = 5000;
/** tcpdump hands frames on in order, some time after they passed. */
const SETTLE_MS = 300;

export class Capture {
  readonly file: string;
  readonly #child: ChildProcess;

  private constructor(file: string, child: ChildProcess) {
    this.file = file;
    this.#child = child;
  }

  /** Listens on an interface for what fits a tcpdump filter; resolves once it does. */
  static async start(
    topology: Topology,
    host: Namespace,
    interfaceName: string,
    filter: string,
  ): Promise<Capture> {
    const name = `${host.name}-${interfaceName}`;
    const file = join(topology.directory, `${name}.pcap`);
    const log = `${name}.tcpdump.log`;
    const child = topology.spawn(
      host,
      [
        ...['tcpdump', '-i', interfaceName, '-n', '-s', '0', '-U', '--immediate-mode'],
        ...['-Z', 'root', '-w', file, ...filter.split(' ')],
      ],
      log,
    );
    const listens = () => readFileSync(join(topology.directory, log), 'utf8').includes('listening');
    const started = await eventually(() => child.exitCode !== null || listens(), START_TIMEOUT_MS);
    if (!started || child.exitCode !== null) {
      const said = readFileSync(join(topology.directory, log), 'utf8').trim();
      throw new Error(`${host.name}: tcpdump -i ${interfaceName} does not start: ${said}`);
    }
    return new Capture(file, child);
  }

  /** Ends it and returns the frames in the order in which they passed. */
  async stop(): Promise<readonly CapturedFrame[]> {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    this.#child.kill('SIGINT');
    // Asked again and again: a detached child alone would not keep this process waiting.
    const gone = () => this.#child.exitCode !== null || this.#child.signalCode !== null;
    if (!(await eventually(gone, STOP_TIMEOUT_MS)))
      throw new Error(`${this.file}: tcpdump goes on`);
    return existsSync(this.file) ? readPcap(this.file) : [];
  }
}
