/**
 * Which results stand together in a plot: those of one unit, divided into panels and series by what
 * they differ in. Benches that are not named here, and units that no line names, get one plot a
 * unit with a row for each result.
 */
import type { SavedResult } from './saved';

/** range: least, median, most. stack: shares of a whole. line: the same over a number. */
export type Form = 'range' | 'stack' | 'line';

export interface Grouping {
  readonly unit: string;
  readonly title: string;
  /** Results of the unit that it takes; all that are left, when not said. */
  readonly takes?: (result: SavedResult) => boolean;
  /** Names that say two things: what becomes `group`, and the rest, which stays `name`. */
  readonly split?: RegExp;
  /** Parameters, `name` or `group`: a panel for each value. */
  readonly panel?: readonly string[];
  /** A colour for each value. */
  readonly series?: readonly string[];
  /** What a series is called, where its values do not say it. */
  readonly nameSeries?: (result: SavedResult) => string;
  readonly form?: Form;
  /** Of a line. */
  readonly x?: string;
  /** Panels whose figures are no kin: each has an axis of its own. */
  readonly ownAxis?: boolean;
}

const has = (key: string) => (result: SavedResult) => result.parameters[key] !== undefined;
const isSteps = ({ parameters }: SavedResult) => String(parameters['load']).startsWith('offered');
const LOAD = ['load', 'frameBytes'];
/** `xvs NAT requests paced` */
const TCP = /^(?<name>.*?) (?<group>(?:requests|connect|transfer)(?: paced)?)$/;
const PARTS = ['group'];
/** `rr, 50 % full` */
const FULL = /^(?<name>\w+), (?<group>\d+ % full)$/;

/** Benches in which others do the same work as xvs, which stands out among them. */
export const WITH_PEERS = new Set(['wire', 'latency', 'tcp']);

export const GROUPINGS: Readonly<Record<string, readonly Grouping[]>> = {
  wire: [
    { unit: 'Mpps', title: 'Arrives, of ten offered rates', takes: isSteps, panel: ['load'] },
    { unit: 'Mpps', title: 'Frames that arrive', panel: LOAD },
    { unit: 'packets/CPU-second', title: 'Frames for a second of CPU time', panel: LOAD },
    { unit: 'packets/thread-second', title: 'Frames for a second of run time', panel: LOAD },
  ],
  latency: [
    { unit: 'us', title: 'Delay', panel: ['load', 'way'], series: ['point'] },
    { unit: 'CPUs busy', title: 'CPU use', panel: ['load'] },
    { unit: 'lost %', title: 'Frames that did not come back', panel: ['load'] },
  ],
  tcp: [
    { unit: 'requests/s', title: 'Requests on open connections', split: TCP },
    { unit: 'requests/CPU-second', title: 'Requests for a second of CPU time', split: TCP },
    { unit: 'connections/s', title: 'A connection for each request', split: TCP },
    { unit: 'connections/CPU-second', title: 'The same for a second of CPU time', split: TCP },
    { unit: 'Gbit/s', title: 'Large responses', split: TCP, panel: ['offloads'] },
    {
      unit: 'Gbit/CPU-second',
      title: 'The same for a second of CPU time',
      split: TCP,
      panel: ['offloads'],
    },
    { unit: 'us', title: 'Delay at one rate for all', split: TCP, panel: PARTS, series: ['point'] },
    { unit: 'CPUs busy', title: 'CPU use', split: TCP, panel: PARTS },
  ],
  pipeline: [
    {
      unit: 'ns/packet',
      title: 'NAT beside C',
      takes: has('loop'),
      panel: ['protocol'],
      series: ['name', 'loop'],
      nameSeries: ({ name, parameters }) => (name === 'xvs' ? name : `C, ${parameters['loop']}`),
      form: 'line',
      x: 'flows',
    },
    { unit: 'ns/packet', title: 'Packet of an existing connection', panel: ['flows', 'protocol'] },
    { unit: 'connections/second', title: 'New connections', panel: ['flows', 'protocol'] },
    {
      unit: 'ns',
      title: 'New connection: its beginning and its end',
      panel: ['flows', 'protocol'],
      series: ['step'],
    },
    { unit: 'million/second', title: 'Two workers beside one', series: ['workers'] },
  ],
  connections: [
    {
      unit: 'connections/second',
      title: 'New connections of a worker, table',
      split: FULL,
      panel: PARTS,
    },
    {
      unit: 'ns',
      title: 'Beginning and end of a connection, table',
      split: FULL,
      panel: PARTS,
      series: ['step'],
    },
    { unit: 'bytes/connection', title: 'Memory' },
  ],
  control: [
    { unit: 'us/operation', title: 'Cost of an operation' },
    { unit: 'of worker', title: 'Speed left to the worker', series: ['beside'] },
    { unit: 'ms', title: 'Whole steps' },
  ],
  limits: [
    { unit: '% of the CPU', title: 'Where the CPU’s time goes', form: 'stack', series: ['name'] },
    { unit: 'ns/frame', title: 'The same for a frame', panel: ['flows'] },
    { unit: 'Mpps', title: 'Offered and delivered' },
    { unit: 'frames', title: 'Bursts' },
    { unit: '% of its CPU', title: 'The generator' },
  ],
  stalls: [
    { unit: 'of a round', title: 'Stalls', panel: ['name'] },
    { unit: 'ms', title: 'Longest round' },
    { unit: 'Mpps', title: 'Forwarded meanwhile' },
  ],
  micro: [{ unit: 'ns', title: 'Small questions', panel: ['what'], ownAxis: true }],
  trace: [{ unit: 'ns/packet', title: 'A packet, by what is traced' }],
  program: [{ unit: 'ns', title: 'The XDP program, a frame' }],
  stages: [{ unit: 'ns/packet', title: 'A packet, timed and not' }],
};
