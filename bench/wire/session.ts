/** One contender in one round of the wire bench: all loads that are wanted, one after another. */
import { leastDisturbed, OTHERS_MAX } from '../support/disturbance';
import { findLosslessRate } from './search';
import type { Load, SearchSettings, Settings } from './settings';
import { disturbance, type Loss, type Measurement, type Stand } from './stand';

/** The search begins above what came through in the flood, which is harder than an even load. */
const ABOVE_FLOOD = 1.4;
/** How often, and by how much, the rate that was found is lowered when it does not hold. */
const REPEATS_MAX = 10;
const LOWERED = 0.95;
/** Offered rates of the load `steps`, in parts of what came through in the flood. */
const STEPS = [0.2, 0.4, 0.6, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2];

export interface Figure {
  /** `flood`, `lossless`, `half`, or `offered 0.8 x flood`. */
  readonly load: string;
  readonly frameBytes: number;
  readonly measurement: Measurement;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function mpps(perSecond: number): string {
  return `${(perSecond / 1e6).toFixed(4)} Mpps`;
}

function describe(measurement: Measurement): string {
  return [
    mpps(measurement.perSecond),
    `${Math.round(measurement.perCpuSecond)} packets/CPU-second`,
    `offered ${mpps(measurement.offeredPerSecond)}`,
    `lost ${measurement.lost} (${(measurement.lossShare * 100).toFixed(3)} %)`,
    `generator's CPU: generator ${percent(measurement.generatorThread)}` +
      ` others ${percent(measurement.generatorCpuOthers)}` +
      ` (${Math.round(measurement.softirqsPerSecond)} receive softirqs/s)`,
    `contender's CPU: contender ${percent(measurement.contenderThreads)}` +
      ` others ${percent(measurement.contenderCpuOthers)}`,
    `stolen ${percent(measurement.stolen)}`,
  ].join(', ');
}

/**
 * The highest rate, in frames per second, at which a trial loses no more than is allowed. A trial
 * that fails is repeated up to `attempts` times: on a virtual machine some fail for what the
 * hypervisor does.
 */
export async function searchLossless(
  stand: Stand,
  frameBytes: number,
  highest: number,
  search: SearchSettings,
): Promise<number> {
  return findLosslessRate(highest, search.resolution, async (rate) => {
    for (let attempt = 0; attempt < search.attempts; attempt++) {
      const trial = await stand.send({ rate, frameBytes, seconds: search.trial });
      if (isLossless(trial, rate, search)) return true;
    }
    return false;
  });
}

/** A rate that the generator did not reach proves nothing. */
function isLossless(trial: Loss, rate: number, search: SearchSettings): boolean {
  const REACHED = 0.97;
  return trial.lossShare <= search.loss && trial.offeredPerSecond >= REACHED * rate;
}

export class Session {
  readonly figures: Figure[] = [];
  readonly #label: string;
  readonly #stand: Stand;
  readonly #settings: Settings;
  readonly #say: (text: string) => void;

  constructor(label: string, stand: Stand, settings: Settings, say: (text: string) => void) {
    this.#label = label;
    this.#stand = stand;
    this.#settings = settings;
    this.#say = say;
  }

  /** All loads but `half`. Returns the rate without loss in frames per second, 0 = not found. */
  async run(frameBytes: number, loads: readonly Load[]): Promise<number> {
    if (loads.every((load) => load === 'half')) return 0;
    const { perSecond: flooded } = await this.#flood(frameBytes);
    if (loads.includes('steps')) await this.#steps(frameBytes, flooded);
    return loads.includes('lossless') ? this.#lossless(frameBytes, flooded) : 0;
  }

  /** `rate`: frames per second; 0 = not known, and nothing is measured. */
  async half(frameBytes: number, rate: number): Promise<void> {
    if (rate > 0) await this.#measure('half', frameBytes, rate);
  }

  async warmUp(frameBytes: number): Promise<void> {
    const { warmup: seconds } = this.#settings;
    this.#stand.setReceive('fair');
    await this.#stand.send({ rate: 0, frameBytes, seconds });
    this.#stand.setReceive('first');
  }

  async #flood(frameBytes: number): Promise<Measurement> {
    this.#stand.setReceive('fair');
    const measurement = await this.#measure('flood', frameBytes, 0);
    this.#stand.setReceive('first');
    return measurement;
  }

  async #steps(frameBytes: number, flooded: number): Promise<void> {
    for (const step of STEPS) {
      const load = `offered ${step} x flood`;
      await this.#measure(load, frameBytes, step * flooded);
    }
  }

  /** Searches, then repeats the rate that was found for longer, lowered until it holds. */
  async #lossless(frameBytes: number, flooded: number): Promise<number> {
    const { search, seconds } = this.#settings;
    const highest = ABOVE_FLOOD * flooded;
    let rate = await searchLossless(this.#stand, frameBytes, highest, search);
    for (let repeat = 1; repeat <= REPEATS_MAX && rate > 0; repeat++) {
      const measurement = await this.#stand.measure({ rate, frameBytes, seconds });
      const holds = measurement.lossShare <= search.loss;
      this.#tell(holds ? 'lossless' : 'not lossless', frameBytes, measurement);
      if (holds) {
        this.figures.push({ load: 'lossless', frameBytes, measurement });
        return measurement.offeredPerSecond;
      }
      if (repeat % search.attempts === 0) rate *= LOWERED;
    }
    this.#say(`${this.#label}: no rate without loss was found that holds for ${seconds} s`);
    return 0;
  }

  /** Repeats a disturbed measurement a bounded number of times; the least disturbed one counts. */
  async #measure(load: string, frameBytes: number, rate: number): Promise<Measurement> {
    const { retries, seconds } = this.#settings;
    const best = await leastDisturbed(retries, disturbance, async () => {
      const measurement = await this.#stand.measure({ rate, frameBytes, seconds });
      this.#tell(load, frameBytes, measurement);
      return measurement;
    });
    this.figures.push({ load, frameBytes, measurement: best });
    return best;
  }

  #tell(load: string, frameBytes: number, measurement: Measurement): void {
    const note = disturbance(measurement) > OTHERS_MAX ? '; DISTURBED by others' : '';
    this.#say(`${this.#label} ${frameBytes} bytes ${load}: ${describe(measurement)}${note}`);
  }
}
