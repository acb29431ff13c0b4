/**
 * Bench `tcp`: requests, connections and bytes a second through the virtual service, and how long a
 * request takes: xvs, the kernel's NAT (nftables), and two proxies. docs/bench.md says why the
 * comparison is fair.
 */
import { describeDisturbed, leastDisturbed, OTHERS_MAX } from '../support/disturbance';
import { select } from '../support/install';
import { describeOptions, Options } from '../support/options';
import { describeMachine, type Report } from '../support/report';
import { Samples } from '../support/samples';
import { pinBench } from '../wire/check';
import { type Contender, contendersOf } from './contenders';
import { Figures, OFFLOADS } from './figures';
import { LARGE, SMALL } from './server';
import { OPTIONS, type PacedLoad, readSettings, type Settings } from './settings';
import { type Measurement, TcpStand, type Traffic } from './stand';
import { tablesOf } from './tables';

export const summary = 'requests, connections, bytes and latency through a TCP service, by peers';
export const help = () => describeOptions(OPTIONS);

type Rates = Readonly<Record<PacedLoad, number>>;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function describe({ responsesPerSecond, bitsPerSecond, ...rest }: Measurement): string {
  const { latencies, director, others } = rest;
  return [
    `${Math.round(responsesPerSecond)} responses/s`,
    `${(bitsPerSecond / 1e9).toFixed(3)} Gbit/s`,
    ...(latencies
      ? [`p50 ${latencies.p50.toFixed(0)} p99.9 ${latencies['p99.9'].toFixed(0)} us`]
      : []),
    ...(director === null ? [] : [`director ${director.toFixed(2)} CPUs`]),
    ...(others > OTHERS_MAX ? [`DISTURBED by others (${others.toFixed(2)})`] : []),
  ].join(', ');
}

class Bench {
  readonly samples = new Samples();
  readonly figures: Figures;
  readonly #settings: Settings;
  #measured = 0;
  #disturbed = 0;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.figures = new Figures(settings, this.samples);
  }

  get disturbed(): string[] {
    return describeDisturbed(this.#disturbed, this.#measured);
  }

  #traffic(load: PacedLoad | 'transfer', rate = 0): Traffic {
    const { connections, streams, warmup, seconds } = this.#settings;
    const isTransfer = load === 'transfer';
    return {
      body: isTransfer ? LARGE : SMALL,
      connections: isTransfer ? streams : connections,
      isFresh: load === 'connect',
      rate,
      warmup,
      seconds,
    };
  }

  get pacedLoads(): PacedLoad[] {
    return this.#settings.loads.filter((load) => load !== 'transfer');
  }

  /** Half of what the slowest contender makes, where no rate was given. */
  async findRates(contenders: readonly Contender[]): Promise<Rates> {
    const slowest: Record<PacedLoad, number> = { ...this.#settings.rates };
    const wanted = this.pacedLoads.filter((load) => slowest[load] === 0);
    if (wanted.length === 0) return slowest;
    for (const contender of contenders) {
      await this.#withStand(contender, async (stand) => {
        for (const load of wanted) {
          const measurement = await stand.measure(this.#traffic(load));
          say(`what ${contender.name} can hold, ${load}: ${describe(measurement)}`);
          const half = Math.round(measurement.responsesPerSecond / 2);
          slowest[load] = Math.min(slowest[load] || half, half);
        }
      });
    }
    return slowest;
  }

  async round(round: number, contenders: readonly Contender[], rates: Rates): Promise<void> {
    for (const contender of contenders) {
      await this.#withStand(contender, (stand) => this.#measureAll(round, contender, stand, rates));
    }
  }

  async #withStand(contender: Contender, use: (stand: TcpStand) => Promise<void>): Promise<void> {
    const stand = await TcpStand.start(this.#settings, contender);
    try {
      await use(stand);
      const counters = await stand.stop();
      if (this.#settings.showCounters && counters !== '') say(counters);
    } finally {
      stand.close();
    }
  }

  async #measureAll(
    round: number,
    contender: Contender,
    stand: TcpStand,
    rates: Rates,
  ): Promise<void> {
    const { rounds, loads, offloads } = this.#settings;
    const label = `round ${round}/${rounds} ${contender.name}`;
    for (const load of this.pacedLoads) {
      const most = await this.#measure(`${label} ${load}`, stand, this.#traffic(load));
      this.figures.keepMost(round, contender, load, OFFLOADS, most);
      const paced = this.#traffic(load, rates[load]);
      const measurement = await this.#measure(`${label} ${load} paced`, stand, paced);
      this.figures.keepPaced(round, contender, load, measurement);
    }
    if (!loads.includes('transfer')) return;
    for (const way of offloads) {
      stand.setOffloads(way);
      const what = `${label} transfer, offloads ${way}`;
      const measurement = await this.#measure(what, stand, this.#traffic('transfer'));
      this.figures.keepMost(round, contender, 'transfer', way, measurement);
    }
  }

  async #measure(label: string, stand: TcpStand, traffic: Traffic): Promise<Measurement> {
    const disturbanceOf = ({ others }: Measurement) => others;
    const best = await leastDisturbed(this.#settings.retries, disturbanceOf, async () => {
      const measurement = await stand.measure(traffic).catch((error: unknown) => {
        throw new Error(`${label}: ${error instanceof Error ? error.message : error}`);
      });
      say(`${label}: ${describe(measurement)}`);
      return measurement;
    });
    this.#measured++;
    if (disturbanceOf(best) > OTHERS_MAX) this.#disturbed++;
    return best;
  }
}

function placementOf({ generatorCpu, serverCpu, contenderCpu }: Settings): Record<string, number> {
  return {
    'clients, their receive threads and this program': generatorCpu,
    'server, its receive threads': serverCpu,
    "director, all its threads, its interfaces' receive threads": contenderCpu,
  };
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  const { generatorCpu, serverCpu, contenderCpu } = settings;
  pinBench(generatorCpu, contenderCpu, [serverCpu]);
  const { able, missing, leftOut } = select(contendersOf(settings), settings.installs);
  if (able.length === 0) throw new Error([...missing, ...leftOut].join('\n'));
  const bench = new Bench(settings);
  const rates = await bench.findRates(able);
  for (let round = 1; round <= settings.rounds; round++) await bench.round(round, able, rates);
  const notes = [
    ...bench.pacedLoads.map((load) => `${load} paced: ${rates[load]} a second, the same for all`),
    ...bench.disturbed,
  ];
  return {
    bench: 'tcp',
    machine: describeMachine('veth', 'copy', placementOf(settings)),
    results: bench.samples.results,
    missing: [...missing, ...leftOut],
    notes,
    table: tablesOf(settings, bench.figures, able),
  };
}
