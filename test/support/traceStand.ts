/**
 * A simulated director whose worker asks about tracing as a worker's loop does, and the control
 * plane's side of a trace. Its clock begins at the machine's, for the control plane looks
 * connections up as they are now.
 */
import type { TracedPacket, TraceMessage, TraceRequest } from '#xvs/control/trace/protocol';
import { Trace } from '#xvs/control/trace/session';
import { Tracer } from '#xvs/worker/trace';
import { type Outcome, type Side, Simulation, type SimulationOptions } from './simulation';

const SNAP_BYTES = 65535;

export function traceRequest(request: Partial<TraceRequest> = {}): TraceRequest {
  return { filter: '', snapBytes: SNAP_BYTES, count: 0, seconds: 0, ...request };
}

export class TraceStand {
  readonly simulation: Simulation;
  readonly trace: Trace;
  readonly #tracer: Tracer;

  /** `patienceMs`: how long a session waits for its reader. */
  constructor(options: SimulationOptions = {}, patienceMs?: number) {
    const startTick = Number(process.hrtime.bigint() / 100_000_000n) | 0;
    this.simulation = new Simulation({ startTick, ...options });
    const { tables, workers } = this.simulation;
    const { umem, ports, pipeline } = workers[0]!;
    this.trace = new Trace(tables, ['d0', 'd1'], patienceMs);
    this.#tracer = new Tracer(tables, 0, umem, ports, pipeline);
  }

  get isOff(): boolean {
    return this.#tracer.isOff;
  }

  /** As Simulation.receive, in bursts as large as there are frames for. */
  receive(side: Side, frames: Uint8Array | readonly Uint8Array[]): Outcome {
    const worker = this.simulation.workers[0]!;
    const port = worker.ports[side];
    for (const frame of frames instanceof Uint8Array ? [frames] : frames) port.inject(frame);
    for (;;) {
      const count = port.receive();
      if (count === 0) return worker.take();
      if (this.#tracer.isOff) worker.pipeline.process(port, count);
      else this.#tracer.process(port, count);
      worker.tidyUp(this.simulation.tick);
    }
  }

  /** A session that has begun. */
  async start(request: Partial<TraceRequest> = {}): Promise<AsyncGenerator<TraceMessage>> {
    const session = this.trace.start(traceRequest(request));
    await session.next();
    return session;
  }

  /** What a trace shows of what `work` has the worker do, and how many packets it lost. */
  async packetsOf(
    request: Partial<TraceRequest>,
    work: () => void,
  ): Promise<{ packets: TracedPacket[]; lost: number }> {
    const session = await this.start(request);
    work();
    const packets: TracedPacket[] = [];
    let lost = 0;
    for (let seen = -1; ; ) {
      const { value } = await session.next();
      if (value?.kind === 'packet') packets.push(value);
      else if (value?.kind === 'lost') {
        lost += value.packets;
        // A reading that brought none: there are no more.
        if (packets.length === seen) break;
        seen = packets.length;
      }
    }
    await session.return(undefined);
    return { packets, lost };
  }
}
