/**
 * What a full run asks of each bench, and a quick one: the one place that says so. A full run takes
 * rounds enough for a median and its spread to mean something; all of it ends within an hour.
 */

export interface Planned {
  /** Beyond the bench's own defaults. */
  readonly full: readonly string[];
  /** Does it work? Its figures mean nothing. */
  readonly quick: readonly string[];
  /** About how long the full one takes on two CPUs: for what is left to wait. */
  readonly minutes: number;
}

/** In the order in which they run: the wire first, while nothing has warmed the machine up. */
export const PLAN: Readonly<Record<string, Planned>> = {
  wire: { full: ['--seconds', '1'], quick: ['--quick'], minutes: 15 },
  latency: { full: [], quick: ['--quick'], minutes: 6 },
  tcp: { full: [], quick: ['--quick'], minutes: 9 },
  pipeline: {
    full: ['--rounds', '11'],
    quick: [
      ...['--parts', 'peer,methods', '--methods', 'nat,dr', '--families', '4'],
      ...['--flows', '1024', '--rowFlows', '1024', '--rounds', '3', '--packets', '65536'],
    ],
    minutes: 6,
  },
  connections: {
    full: [],
    quick: [
      ...['--schedulers', 'rr,wlc', '--full', '50', '--rounds', '3', '--connections', '16384'],
      ...['--capacity', '65536', '--memoryCapacity', '65536'],
    ],
    minutes: 1.5,
  },
  control: {
    // The fewest with which a loss can be proved.
    full: ['--rounds', '6'],
    quick: ['--rounds', '1', '--services', '200', '--single', '20'],
    minutes: 3,
  },
  trace: { full: [], quick: ['--rounds', '3', '--packets', '65536'], minutes: 0.2 },
  program: { full: [], quick: ['--rounds', '1', '--runs', '10000'], minutes: 0.3 },
  stages: { full: [], quick: ['--rounds', '3', '--packets', '65536'], minutes: 0.1 },
  limits: { full: ['--rounds', '3'], quick: ['--quick'], minutes: 1.5 },
  stalls: { full: ['--rounds', '2', '--minutes', '10'], quick: ['--quick'], minutes: 11 },
  micro: { full: [], quick: ['--seconds', '0.1'], minutes: 0.7 },
};

export const BENCHES = Object.keys(PLAN);

export function wordsOf(name: string, isQuick: boolean): readonly string[] {
  const { full, quick } = PLAN[name]!;
  return isQuick ? quick : full;
}
