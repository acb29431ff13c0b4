/** Figures of the tcp bench: what they are called in JSON, and what of a measurement is kept. */
import type { Measure, Samples } from '../support/samples';
import type { Contender } from './contenders';
import { POINTS, type Point } from './outcome';
import { LARGE, SMALL } from './server';
import type { Load, Offloads, PacedLoad, Settings } from './settings';
import type { Measurement } from './stand';

/** What a load counts. */
export const COUNTED: Readonly<Record<Load, string>> = {
  requests: 'requests',
  connect: 'connections',
  transfer: 'Gbit',
};
/** Of the loads with small responses. */
export const OFFLOADS: Offloads = 'gro';

/** A contender's name says `xvs NAT`, its figures' names `xvs NAT requests`, `... paced`. */
export class Figures {
  readonly #settings: Settings;
  readonly #samples: Samples;

  constructor(settings: Settings, samples: Samples) {
    this.#settings = settings;
    this.#samples = samples;
  }

  /** As fast as it goes. */
  keepMost(
    round: number,
    contender: Contender,
    load: Load,
    offloads: Offloads,
    measurement: Measurement,
  ): void {
    const { responsesPerSecond, bitsPerSecond, director } = measurement;
    const rate = load === 'transfer' ? bitsPerSecond / 1e9 : responsesPerSecond;
    const add = (unit: string, value: number) =>
      this.#samples.add(round, this.most(contender, load, offloads, unit), value);
    add(`${COUNTED[load]}/s`, rate);
    if (director === null) return;
    add(`${COUNTED[load]}/CPU-second`, rate / director);
    add('CPUs busy', director);
  }

  /** At a rate that is the same for all. */
  keepPaced(
    round: number,
    contender: Contender,
    load: PacedLoad,
    { latencies, director }: Measurement,
  ): void {
    if (latencies === null || director === null) {
      throw new Error(`${contender.name}, ${load} paced: no latency was measured`);
    }
    for (const point of POINTS) {
      this.#samples.add(round, this.latency(contender, load, point), latencies[point]);
    }
    this.#samples.add(round, this.pacedCpus(contender, load), director);
  }

  most({ name, mode }: Contender, load: Load, offloads: Offloads, unit: string): Measure {
    const { connections, streams, seconds, rounds } = this.#settings;
    const parameters =
      load === 'transfer'
        ? { mode, offloads, connections: streams, bytes: LARGE.bytes, seconds, rounds }
        : { mode, connections, bytes: SMALL.bytes, seconds, rounds };
    return { name: `${name} ${load}`, parameters, unit };
  }

  latency(contender: Contender, load: PacedLoad, point: Point): Measure {
    const { name, parameters } = this.pacedCpus(contender, load);
    return { name, parameters: { point, ...parameters }, unit: 'us' };
  }

  pacedCpus({ name, mode }: Contender, load: PacedLoad): Measure {
    const { connections, seconds, rounds } = this.#settings;
    const parameters = { mode, connections, bytes: SMALL.bytes, seconds, rounds };
    return { name: `${name} ${load} paced`, parameters, unit: 'CPUs busy' };
  }

  show(measure: Measure, digits: number): string {
    return this.#samples.median(measure)?.toFixed(digits) ?? '';
  }

  ratio(one: Measure, other: Measure) {
    return this.#samples.ratio(one, other);
  }
}
