/**
 * The project's targets: what is wanted of each bench. A bench says how near it came (target.ts);
 * the report shows them all, those that nobody measured too.
 */

export interface Limit {
  readonly relation: 'at most' | 'at least' | 'below';
  readonly wanted: number;
  /** 'x' is a ratio. */
  readonly unit: string;
}

interface Goal extends Limit {
  /** The bench that measures it. */
  readonly bench: string;
  readonly what: string;
}

export type GoalName =
  | 'hot'
  | 'million'
  | 'births'
  | 'memory'
  | 'flood'
  | 'lossless'
  | 'half'
  | 'tail'
  | 'soak'
  | 'workers'
  | 'stalls'
  | 'stages';

export const GOALS: Readonly<Record<GoalName, Goal>> = {
  hot: {
    bench: 'pipeline',
    what: 'pipeline, NAT hit, 1,024 flows, beside the faster of C’s loops doing the same work',
    relation: 'at most',
    wanted: 2,
    unit: 'x',
  },
  million: {
    bench: 'pipeline',
    what: 'pipeline, NAT hit, a million flows, beside C with prefetch',
    relation: 'at most',
    wanted: 1.5,
    unit: 'x',
  },
  births: {
    bench: 'connections',
    what: 'new connections of a worker: scheduled, inserted, later expired',
    relation: 'at least',
    wanted: 2_000_000,
    unit: 'a second',
  },
  memory: {
    bench: 'connections',
    what: 'memory of an IPv4 connection, index included, capacity for 10 million',
    relation: 'at most',
    wanted: 96,
    unit: 'bytes',
  },
  flood: {
    bench: 'wire',
    what: 'wire, flood, beside the C forwarder, which does less',
    relation: 'at least',
    wanted: 0.97,
    unit: 'x',
  },
  lossless: {
    bench: 'wire',
    what: 'wire, highest rate without loss, beside nftables NAT on the same CPUs',
    relation: 'at least',
    wanted: 1.3,
    unit: 'x',
  },
  half: {
    bench: 'wire',
    what: 'packets per CPU-second at half of nftables’ lossless rate, interrupt mode, beside it',
    relation: 'at least',
    wanted: 1,
    unit: 'x',
  },
  tail: {
    bench: 'latency',
    what: 'p99.9 round trip at half load, busy mode, beside nftables NAT',
    relation: 'at most',
    wanted: 1,
    unit: 'x',
  },
  soak: {
    bench: 'stalls',
    what: 'garbage collections and deoptimisations of a worker in 10 minutes under load',
    relation: 'at most',
    wanted: 0,
    unit: '',
  },
  workers: {
    bench: 'pipeline',
    what: 'two workers beside one, shared table, both CPUs otherwise idle',
    relation: 'at least',
    wanted: 1.9,
    unit: 'x',
  },
  stalls: {
    bench: 'stalls',
    what: 'stalls over 1 ms: 10,000 services loaded, a million connections listed, scrapes',
    relation: 'at most',
    wanted: 0,
    unit: '',
  },
  stages: {
    bench: 'stages',
    what: 'what timing the stages adds to a packet',
    relation: 'below',
    wanted: 2,
    unit: '%',
  },
};
