/**
 * A worker of a bench: the real pipeline between two ports in memory, on tables that it may share
 * with other workers. Chunks, ports and clock are its own.
 */
import { addon } from '#xvs/port/addon';
import { Umem } from '#xvs/port/umem';
import type { Tables } from '#xvs/table/memory';
import type { MakePrefetcher } from '#xvs/table/prefetch';
import { Pipeline } from '#xvs/worker/pipeline';
import { Specializer } from '#xvs/worker/specialize';
import { compileAll } from '../support/compileAll';
import { BenchHost, BenchPort } from './benchPort';
import { CLIENT_SIDE, SERVER_SIDE } from './director';
import { BATCH_FRAMES, CHUNK_BYTES } from './settings';

export const FIRST_TICK = 1000;

export class BenchWorker {
  readonly umem: Umem;
  readonly ports: readonly [BenchPort, BenchPort];
  readonly host = new BenchHost();
  readonly pipeline: Pipeline;

  /** `worker`: its number among those of `tables`. */
  constructor(tables: Tables, worker: number, prefetch?: MakePrefetcher) {
    const buffer = new SharedArrayBuffer(Umem.bufferBytes(CHUNK_BYTES, BATCH_FRAMES));
    this.umem = new Umem(buffer, addon.pageOffset(buffer), CHUNK_BYTES, BATCH_FRAMES);
    this.umem.clock[0] = FIRST_TICK;
    tables.wheels[worker]!.start(FIRST_TICK);
    this.ports = [
      new BenchPort('client side', CLIENT_SIDE, this.umem),
      new BenchPort('server side', SERVER_SIDE, this.umem),
    ];
    const ports = this.ports.map(({ port }) => port);
    const specializer = new Specializer();
    const { host } = this.host;
    const { umem } = this;
    this.pipeline = new Pipeline(tables, worker, umem, ports, host, prefetch, specializer.join);
    compileAll(specializer);
  }

  /** Works on the burst that `port` has prepared, as a worker does. */
  burst({ port }: BenchPort): void {
    this.pipeline.process(port, port.receive());
    this.ports[CLIENT_SIDE].port.transmit();
    this.ports[SERVER_SIDE].port.transmit();
  }
}
