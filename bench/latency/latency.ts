/**
 * Bench `latency`: how long a packet takes through a director, one way and there and back, at low
 * load and at half of what the kernel's NAT forwards without loss, and what that costs in CPU time:
 * xvs in each mode, the kernel's NAT, and two forwarders that do less. docs/bench.md says why the
 * comparison is fair.
 */
import { describeDisturbed, leastDisturbed, OTHERS_MAX } from '../support/disturbance';
import { describeOptions, Options } from '../support/options';
import { describeMachine, formatTable, type Report, summarize } from '../support/report';
import { type Measure, Samples } from '../support/samples';
import { judgeGoal, type Target } from '../support/target';
import { checkLab, placementOf } from '../wire/check';
import type { Contender } from '../wire/contender';
import { xvs } from '../wire/director';
import { WireLab } from '../wire/lab';
import { cForwarder, nftables, xdpRedirect } from '../wire/peers';
import { searchLossless } from '../wire/session';
import { FRAME_BYTES_LEAST } from '../wire/settings';
import { type Delays, disturbance, type Measurement, Stand } from '../wire/stand';
import { percentile } from './percentile';
import { OPTIONS, readSettings, type Settings } from './settings';

export const summary = 'delay of UDP frames through a director, by load and mode, and CPU use';
export const help = () => describeOptions(OPTIONS);

const LOADS = ['low', 'half'] as const;
type Load = (typeof LOADS)[number];
const WAYS = ['one way', 'round trip'] as const;
type Way = (typeof WAYS)[number];
const POINTS = ['p50', 'p99', 'p99.9', 'max'] as const;
type Point = (typeof POINTS)[number];

const FRAME_BYTES = FRAME_BYTES_LEAST[4];
/** How often the kernel's lossless rate is looked for; the median counts. */
const SEARCHES = 3;
const FLOOD_SECONDS = 0.5;
/** The search begins so far above what came through in the flood. */
const ABOVE_FLOOD = 1.4;
const NANOSECONDS_PER_MICROSECOND = 1000;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function contendersOf({ contenders, modes }: Settings): Contender[] {
  const has = (name: string) => contenders.includes(name);
  return [
    ...(has('nftables') ? [nftables(4)] : []),
    ...(has('xvs') ? modes.map((mode) => xvs('nat', 4, mode)) : []),
    ...(has('c-forwarder') ? [cForwarder('busy')] : []),
    ...(has('xdp-redirect') ? [xdpRedirect] : []),
  ];
}

function pointOf(delays: Delays, point: Point): number {
  if (point === 'max') return delays.max;
  return percentile(delays, Number(point.slice(1)) / 100);
}

class Bench {
  readonly #samples = new Samples();
  readonly #settings: Settings;
  readonly #lab: WireLab;
  #measured = 0;
  #disturbed = 0;

  constructor(settings: Settings, lab: WireLab) {
    this.#settings = settings;
    this.#lab = lab;
  }

  /** Half of what nftables forwards without loss, in frames per second. */
  async findHalf(): Promise<number> {
    const { half, search } = this.#settings;
    if (half > 0) return half;
    const stand = await Stand.start(this.#lab, nftables(4));
    const flood = { rate: 0, frameBytes: FRAME_BYTES, seconds: FLOOD_SECONDS };
    const rates: number[] = [];
    for (let attempt = 0; attempt < SEARCHES; attempt++) {
      stand.setReceive('fair');
      const { perSecond } = await stand.measure(flood);
      stand.setReceive('first');
      const rate = await searchLossless(stand, FRAME_BYTES, ABOVE_FLOOD * perSecond, search);
      say(`nftables without loss: ${Math.round(rate)} packets/s`);
      if (rate > 0) rates.push(rate);
    }
    await stand.stop();
    if (rates.length === 0) throw new Error('nftables lost frames at every rate: give --half');
    return summarize('nftables', {}, 'packets/s', rates).median / 2;
  }

  async round(round: number, contenders: readonly Contender[], half: number): Promise<void> {
    const { rounds, warmup, low } = this.#settings;
    for (const contender of contenders) {
      const stand = await Stand.start(this.#lab, contender, true);
      await stand.send({ rate: half / 2, frameBytes: FRAME_BYTES, seconds: warmup });
      for (const load of LOADS) {
        const label = `round ${round}/${rounds} ${contender.name} ${contender.mode} ${load}`;
        await this.#measure(round, label, contender, stand, load, load === 'low' ? low : half);
      }
      await stand.stop();
    }
  }

  /** A frame crosses the director twice: it is sent at half the rate. */
  async #measure(
    round: number,
    label: string,
    contender: Contender,
    stand: Stand,
    load: Load,
    rate: number,
  ): Promise<void> {
    const { retries, seconds } = this.#settings;
    const traffic = { rate: rate / 2, frameBytes: FRAME_BYTES, seconds, hasStamps: true };
    const disturbanceOf = (one: { measurement: Measurement }) => disturbance(one.measurement);
    const best = await leastDisturbed(retries, disturbanceOf, async () => {
      await stand.takeDelays();
      const measurement = await stand.measure(traffic);
      const { there, thereAndBack } = await stand.takeDelays();
      const delays = { 'one way': there, 'round trip': thereAndBack };
      say(`${label}: ${describe(measurement, delays)}`);
      return { measurement, delays };
    });
    this.#keep(round, contender, load, best.measurement, best.delays);
  }

  #keep(
    round: number,
    contender: Contender,
    load: Load,
    measurement: Measurement,
    delays: Record<Way, Delays>,
  ): void {
    for (const way of WAYS) {
      for (const point of POINTS) {
        const value = pointOf(delays[way], point) / NANOSECONDS_PER_MICROSECOND;
        this.#samples.add(round, this.#delayOf(contender, load, way, point), value);
      }
    }
    this.#samples.add(round, this.#cpusOf(contender, load), measurement.contenderThreads);
    const lost = 1 - delays['round trip'].count / measurement.offered;
    this.#samples.add(round, this.#lostOf(contender, load), lost * 100);
    this.#measured++;
    if (disturbance(measurement) > OTHERS_MAX) this.#disturbed++;
  }

  #delayOf({ name, mode }: Contender, load: Load, way: Way, point: Point): Measure {
    return { name, parameters: { mode, load, way, point }, unit: 'us' };
  }

  #cpusOf({ name, mode }: Contender, load: Load): Measure {
    return { name, parameters: { mode, load }, unit: 'CPUs busy' };
  }

  #lostOf({ name, mode }: Contender, load: Load): Measure {
    return { name, parameters: { mode, load }, unit: 'lost %' };
  }

  get results() {
    return this.#samples.results;
  }

  /** The medians, a line for each contender and load. */
  table(contenders: readonly Contender[]): string {
    const header = ['contender', 'mode', 'load'];
    for (const way of WAYS) header.push(...POINTS.map((point) => `${way} ${point}`));
    const rows = [[...header, 'CPUs busy', 'lost %']];
    const show = (measure: Measure, digits: number) =>
      this.#samples.median(measure)?.toFixed(digits) ?? '';
    for (const load of LOADS) {
      for (const contender of contenders) {
        const delays = WAYS.flatMap((way) =>
          POINTS.map((point) => show(this.#delayOf(contender, load, way, point), 1)),
        );
        const cpus = show(this.#cpusOf(contender, load), 2);
        const lost = show(this.#lostOf(contender, load), 3);
        rows.push([contender.name, contender.mode, load, ...delays, cpus, lost]);
      }
    }
    return `delays in us, medians of the rounds\n${formatTable(rows)}`;
  }

  targets(contenders: readonly Contender[]): Target[] {
    const kernel = contenders.find(({ name }) => name === 'nftables IPv4');
    const ours = contenders.find(({ name, mode }) => name === 'xvs nat IPv4' && mode === 'busy');
    if (kernel === undefined || ours === undefined) return [];
    const ratio = this.#samples.ratio(
      this.#delayOf(ours, 'half', 'round trip', 'p99.9'),
      this.#delayOf(kernel, 'half', 'round trip', 'p99.9'),
    );
    return [judgeGoal('tail', ratio, 'p99.9 round trip at half load, xvs busy / nftables')];
  }

  notes(half: number): string[] {
    const notes = [
      `low load: ${this.#settings.low} packets/s through the director, half load: ` +
        `${Math.round(half)}; there and back is two of them`,
    ];
    notes.push(...describeDisturbed(this.#disturbed, this.#measured));
    return notes;
  }
}

function describe(measurement: Measurement, delays: Record<Way, Delays>): string {
  const parts = WAYS.map((way) => {
    const values = POINTS.map(
      (point) => `${point} ${(pointOf(delays[way], point) / 1e3).toFixed(1)}`,
    );
    return `${way} ${values.join(' ')} us`;
  });
  const isDisturbed = disturbance(measurement) > OTHERS_MAX;
  return [
    ...parts,
    `${measurement.contenderThreads.toFixed(2)} CPUs`,
    `${delays['round trip'].count} of ${measurement.offered} came back`,
    ...(isDisturbed ? ['DISTURBED by others'] : []),
  ].join(', ');
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  checkLab(settings);
  const contenders = contendersOf(settings);
  const missing = contenders.flatMap(({ missing: why }) => why() ?? []);
  if (missing.length > 0) throw new Error(missing.join('\n'));
  const lab = new WireLab(settings);
  try {
    const bench = new Bench(settings, lab);
    const half = await bench.findHalf();
    for (let round = 1; round <= settings.rounds; round++) {
      await bench.round(round, contenders, half);
    }
    const machine = describeMachine('veth', 'copy', placementOf(settings));
    const { results } = bench;
    const notes = bench.notes(half);
    const targets = bench.targets(contenders);
    const table = bench.table(contenders);
    return { bench: 'latency', machine, results, missing: [], notes, targets, table };
  } finally {
    lab.close();
  }
}
