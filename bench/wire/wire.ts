/**
 * Bench `wire`: how many UDP frames a second get through a director without loss and in a flood,
 * and what they cost in CPU time, for xvs, the kernel's NAT (nftables) and forwarders that do less
 * than either. docs/bench.md says why the comparison is fair.
 */
import { describeDisturbed, OTHERS_MAX } from '../support/disturbance';
import { select } from '../support/install';
import { describeOptions, Options } from '../support/options';
import { describeMachine, type Report } from '../support/report';
import { Samples } from '../support/samples';
import { checkLab, placementOf } from './check';
import { compareByThreads, compareRounds, compareWithTargets, measureOf } from './comparison';
import type { Contender } from './contender';
import { type Entry, entriesOf } from './contenders';
import { Session } from './session';
import { OPTIONS, readSettings, type Settings, sizesOf } from './settings';
import { disturbance } from './stand';
import { FreshStands, LastingStands, type Stands } from './stands';

export const summary = 'UDP frames over veth, without loss and in a flood: xvs and its peers';
export const help = () => describeOptions(OPTIONS);

const HAPROXY = 'haproxy has no place in this bench: it forwards TCP, and this is UDP';

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

class Bench {
  readonly samples = new Samples();
  readonly #settings: Settings;
  readonly #stands: Stands;
  #measured = 0;
  #disturbed = 0;
  #unfound = 0;
  /** Half of nftables' lossless rate, by family and frame size: this round's, or the last known. */
  readonly #half = new Map<string, number>();

  constructor(settings: Settings, stands: Stands) {
    this.#settings = settings;
    this.#stands = stands;
  }

  /** Side by side, another contender is the first in each round. */
  async round(round: number, entries: readonly Entry[]): Promise<void> {
    const first = this.#settings.sideBySide ? (round - 1) % entries.length : 0;
    const order = [...entries.slice(first), ...entries.slice(0, first)];
    for (const entry of order) await this.#enter(round, entry);
  }

  async #enter(round: number, { contender, loads }: Entry): Promise<void> {
    const { rounds, showCounters } = this.#settings;
    const label = `round ${round}/${rounds} ${contender.name} ${contender.mode}`;
    const { stand, isFresh } = await this.#stands.enter(contender);
    const session = new Session(label, stand, this.#settings, say);
    for (const frameBytes of sizesOf(this.#settings, contender.family)) {
      const half = `${contender.family} ${frameBytes}`;
      if (isFresh) await session.warmUp(frameBytes);
      const lossless = await session.run(frameBytes, loads);
      if (loads.includes('lossless') && lossless === 0) this.#unfound++;
      if (contender.name.startsWith('nftables') && lossless > 0) {
        this.#half.set(half, lossless / 2);
      }
      if (loads.includes('half')) await session.half(frameBytes, this.#half.get(half) ?? 0);
    }
    const counters = await this.#stands.leave(contender, stand);
    if (showCounters && counters !== '') say(counters);
    this.#keep(round, contender, session);
  }

  #keep(round: number, contender: Contender, session: Session): void {
    for (const { load, frameBytes, measurement } of session.figures) {
      const add = (unit: string, value: number) => {
        const measure = measureOf(this.#settings, contender, load, frameBytes, unit);
        this.samples.add(round, measure, value);
      };
      add('Mpps', measurement.perSecond / 1e6);
      add('packets/CPU-second', measurement.perCpuSecond);
      if (load === 'half') add('packets/thread-second', measurement.perThreadSecond);
      if (load.startsWith('offered')) add('lost %', measurement.lossShare * 100);
      this.#measured++;
      if (disturbance(measurement) > OTHERS_MAX) this.#disturbed++;
    }
  }

  /** What a reader has to know about how the figures were made. */
  get conditions(): string[] {
    const { search, loads, seconds } = this.#settings;
    const notes: string[] = [];
    if (loads.includes('lossless')) {
      notes.push(
        `lossless: trials of ${search.trial} s that lose at most ${search.loss * 100} %, to ` +
          `${search.resolution * 100} % of the rate, then held for ${seconds} s`,
      );
    }
    if (this.#unfound > 0) {
      notes.push(`${this.#unfound} searches found no rate that held: they are in no median`);
    }
    notes.push(...describeDisturbed(this.#disturbed, this.#measured));
    return notes;
  }
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  checkLab(settings);
  const entries = entriesOf(settings);
  const candidates = entries.map(({ contender }) => contender);
  const { missing, leftOut } = select(candidates, settings.installs);
  const able = entries.filter(({ contender }) => contender.missing() === null);
  if (able.length === 0) throw new Error([...missing, ...leftOut].join('\n'));
  const stands = settings.sideBySide ? new LastingStands(settings) : new FreshStands(settings);
  try {
    const bench = new Bench(settings, stands);
    for (let round = 1; round <= settings.rounds; round++) await bench.round(round, able);
    const machine = describeMachine('veth', 'copy', placementOf(settings));
    const { samples, conditions } = bench;
    const contenders = able.map(({ contender }) => contender);
    const notes = [
      ...compareRounds(settings, contenders, samples),
      ...compareByThreads(settings, contenders, samples),
      ...conditions,
      ...leftOut,
      HAPROXY,
    ];
    const targets = compareWithTargets(settings, contenders, samples);
    return { bench: 'wire', machine, results: samples.results, missing, notes, targets };
  } finally {
    stands.close();
  }
}
