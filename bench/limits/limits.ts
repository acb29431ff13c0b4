/**
 * Bench `limits`: what bounds xvs on the wire here. The wire bench's lab and generator at flood,
 * the worker's own stages and the run times of every thread: shares of the contender's CPU that add
 * up. With few flows and with many, so that what misses in the tables cost shows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OTHERS_MAX } from '../support/disturbance';
import {
  choiceOption,
  describeOptions,
  flagOption,
  numberOption,
  Options,
} from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import { checkLab, placementOf } from '../wire/check';
import { xvs } from '../wire/director';
import {
  LAB_OPTIONS,
  type LabSettings,
  METHODS,
  type Method,
  MODES,
  type Mode,
  readLabSettings,
} from '../wire/settings';
import { type Measurement, Stand } from '../wire/stand';
import { read, startScraper } from './reading';
import { divide, PARTS, type Part, type Shares } from './shares';
import { TracedLab } from './tracedLab';

export const summary = 'what bounds xvs on the wire here: shares of the CPU that add up';

const OPTIONS = {
  rounds: numberOption(5, 1, 100, 'rounds, each with few and with many flows'),
  seconds: numberOption(3, 0.5, 60, 'seconds of a measurement'),
  flows: numberOption(1024, 1, 1_000_000, 'few flows'),
  'many-flows': numberOption(262_144, 1, 1_000_000, 'many flows'),
  method: choiceOption('nat', METHODS, false, 'forwarding method'),
  mode: choiceOption('adaptive', MODES, false, 'of the worker'),
  quick: flagOption('one short round: does it work? Its figures mean nothing'),
  ...LAB_OPTIONS,
};
export const help = () => describeOptions(OPTIONS);

const FRAME_BYTES = 60;
/** For every flow to become a connection. */
const WARM_UP_SECONDS = 1.5;
/** The readings lie well within the traffic. */
const MARGIN_SECONDS = 1;
/** Below this share of lost frames the generator offers no more than xvs can take. */
const SATURATED_LOSS = 0.01;
const IDLE_LEAST = 0.05;
const RETRIES = 2;

interface Round {
  readonly shares: Shares;
  readonly measurement: Measurement;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

const percent = (share: number) => `${(share * 100).toFixed(1)} %`;

/** One flood through a fresh director. */
async function measureOnce(
  lab: TracedLab,
  method: Method,
  mode: Mode,
  seconds: number,
): Promise<Round> {
  const contender = xvs(method, 4, mode);
  let pid = 0;
  const stand = await Stand.start(lab, {
    ...contender,
    async start() {
      const running = await contender.start(lab);
      [pid = 0] = running.pids;
      return running;
    },
  });
  const receivePids = lab.pinReceiveThreads('fair');
  stand.setReceive('fair');
  const scraper = startScraper(lab);
  await stand.send({ rate: 0, frameBytes: FRAME_BYTES, seconds: WARM_UP_SECONDS });
  const traffic = { rate: 0, frameBytes: FRAME_BYTES, seconds: seconds + 2 * MARGIN_SECONDS };
  let isOver = false;
  const measured = stand.measure(traffic).finally(() => {
    isOver = true;
  });
  measured.catch(() => undefined);
  await sleep(MARGIN_SECONDS * 1000);
  await lab.takeCollections();
  const before = await read(lab, scraper, pid, receivePids);
  await sleep(seconds * 1000);
  const after = await read(lab, scraper, pid, receivePids);
  if (isOver) throw new Error('the traffic ended before it was read: the machine is too busy');
  const collections = await lab.takeCollections();
  const measurement = await measured;
  await scraper.stop();
  await stand.stop();
  return { shares: divide(before, after, collections), measurement };
}

/** Nanoseconds of the contender's CPU that a frame took in one part. */
function nanoseconds({ parts, seconds, frames }: Shares, part: Part): number {
  return (parts[part] * seconds * 1e9) / frames;
}

function resultsOf(flows: number, mode: Mode, rounds: readonly Round[]): Result[] {
  const parameters = { flows, mode };
  const of = (name: string, unit: string, value: (round: Round) => number) =>
    summarize(name, parameters, unit, rounds.map(value));
  return [
    of('delivered', 'Mpps', ({ measurement }) => measurement.perSecond / 1e6),
    of('offered', 'Mpps', ({ measurement }) => measurement.offeredPerSecond / 1e6),
    of('generator', '% of its CPU', ({ measurement }) => measurement.generatorThread * 100),
    of('frames of a burst', 'frames', ({ shares }) => shares.framesPerBurst),
    of('frames a transmit wake-up', 'frames', ({ shares }) => shares.framesPerWakeUp),
    ...PARTS.flatMap((part) => [
      of(part, '% of the CPU', ({ shares }) => shares.parts[part] * 100),
      of(part, 'ns/frame', ({ shares }) => nanoseconds(shares, part)),
    ]),
  ];
}

function median(values: readonly number[]): number {
  return summarize('', {}, '', values).median;
}

/** Of the parts that serve frames, the greatest; the generator, when it offers too little. */
function boundOf(flows: number, rounds: readonly Round[]): string {
  const share = (part: Part) => median(rounds.map(({ shares }) => shares.parts[part]));
  const loss = median(rounds.map(({ measurement }) => measurement.lossShare));
  const working = PARTS.filter((part) => part !== 'idle' && part !== 'others');
  const ordered = [...working].sort((one, other) => share(other) - share(one));
  const list = ordered
    .filter((part) => share(part) >= 0.005)
    .map((part) => `${part} ${percent(share(part))}`)
    .join(', ');
  const [first, second] = ordered;
  const disturbed = share('others') > OTHERS_MAX ? '; DISTURBED by others' : '';
  const rest = `others ${percent(share('others'))}, idle ${percent(share('idle'))}${disturbed}`;
  const where = `${flows} flows: bound by`;
  if (loss < SATURATED_LOSS)
    return `${where} the generator, ${percent(loss)} lost (${list}; ${rest})`;
  if (share('idle') > IDLE_LEAST) return `${where} waiting: the CPU is idle (${list}; ${rest})`;
  return `${where} ${first}, then ${second} (${list}; ${rest})`;
}

/** What a frame's way through the pipeline takes longer when its lines are not in the cache. */
function missesNote(few: readonly Round[], many: readonly Round[]): string {
  const of = (rounds: readonly Round[], part: Part) =>
    median(rounds.map(({ shares }) => nanoseconds(shares, part)));
  const whole = median(many.map(({ shares }) => (shares.seconds * 1e9) / shares.frames));
  const misses = of(many, 'JavaScript') - of(few, 'JavaScript');
  return (
    `misses in the tables: JavaScript ${of(few, 'JavaScript').toFixed(0)} ns a frame with few ` +
    `flows, ${of(many, 'JavaScript').toFixed(0)} with many: ` +
    `${percent(Math.max(0, misses) / whole)} of a frame's ${whole.toFixed(0)} ns`
  );
}

function describe({ shares, measurement }: Round): string {
  const mpps = (perSecond: number) => (perSecond / 1e6).toFixed(3);
  const parts = PARTS.map((part) => `${part} ${percent(shares.parts[part])}`);
  const { perSecond, offeredPerSecond } = measurement;
  return `${mpps(perSecond)} of ${mpps(offeredPerSecond)} Mpps; ${parts.join(', ')}`;
}

/** Repeats what others disturbed a bounded number of times; the least disturbed one counts. */
async function measureQuietly(
  label: string,
  lab: TracedLab,
  once: (lab: TracedLab) => Promise<Round>,
): Promise<Round> {
  let best: Round | null = null;
  for (let attempt = 0; attempt <= RETRIES; attempt++) {
    const round = await once(lab);
    const { others } = round.shares.parts;
    const isDisturbed = others > OTHERS_MAX;
    say(`${label}: ${describe(round)}${isDisturbed ? '; DISTURBED by others' : ''}`);
    if (best === null || others < best.shares.parts.others) best = round;
    if (!isDisturbed) break;
  }
  if (best === null) throw new Error(`${label}: not measured`);
  return best;
}

async function measureFlows(
  settings: LabSettings,
  flows: number,
  rounds: number,
  once: (lab: TracedLab) => Promise<Round>,
): Promise<Round[]> {
  const lab = new TracedLab({ ...settings, flows });
  try {
    const measured: Round[] = [];
    for (let round = 1; round <= rounds; round++) {
      measured.push(await measureQuietly(`${flows} flows, round ${round}/${rounds}`, lab, once));
    }
    return measured;
  } finally {
    lab.close();
  }
}

export async function run(argv: readonly string[]): Promise<Report> {
  const options = new Options(OPTIONS, argv);
  const settings = readLabSettings(options);
  checkLab(settings);
  const isQuick = options.flag('quick');
  const rounds = isQuick ? 1 : options.number('rounds');
  const seconds = isQuick ? 0.5 : options.number('seconds');
  const mode = options.text('mode') as Mode;
  const method = options.text('method') as Method;
  const contender = xvs(method, 4, mode);
  const missing = contender.missing();
  if (missing !== null) throw new Error(missing);
  const once = (lab: TracedLab) => measureOnce(lab, method, mode, seconds);
  const counts = [settings.flows, options.number('many-flows')];
  const [few, many] = [
    await measureFlows(settings, counts[0]!, rounds, once),
    await measureFlows(settings, counts[1]!, rounds, once),
  ];
  return {
    bench: 'limits',
    machine: describeMachine('veth', 'copy', placementOf(settings)),
    results: [...resultsOf(counts[0]!, mode, few), ...resultsOf(counts[1]!, mode, many)],
    missing: [],
    notes: [
      boundOf(counts[0]!, few),
      boundOf(counts[1]!, many),
      missesNote(few, many),
      'shares are of the CPU that everything but the generator runs on, and add up to 100 %',
    ],
  };
}
