/**
 * Answers "what would happen to this packet": the frame is made or read, asked about at the XDP
 * program's maps, then taken through a rehearsal (rehearse.ts). Nothing is changed by it.
 */
import { addressWords } from '../../net/address';
import { attachTables, type DirectorMemory } from '../../table/memory';
import type { NextHopTable } from '../../table/nextHop';
import { ROUTE_UNICAST } from '../../table/route';
import type { Director } from '../director';
import { DirectorError } from '../error';
import { DROP_MEANINGS, PASS_MEANINGS } from '../reasons';
import { describeFrame, ipOf } from './frameText';
import { Names } from './names';
import type { ExplainAnswer, ExplainedFrame, ExplainRequest } from './protocol';
import { FRAME_BYTES_MAX, type Rehearsal, rehearse } from './rehearse';
import { buildTupleFrame } from './tupleFrame';
import { type MapLookup, XdpModel } from './xdpModel';

const MAC_BYTES = 6;
/** Of a host that is no neighbour. */
const UNKNOWN_HIGH = 0x02000000;
const UNKNOWN_LOW = 1;

const MEANINGS: Readonly<Record<string, string>> = {
  ...DROP_MEANINGS,
  ...PASS_MEANINGS,
  forwarded: 'It leaves at once.',
  waits_for_neighbour: 'It is kept, at most three seconds, until the kernel knows the MAC.',
  held: 'It is kept, at most a second, until the first fragment of its datagram comes.',
};

export interface ExplainerOptions {
  readonly memory: DirectorMemory;
  readonly director: Director;
  /** Names of the served interfaces, in slot order. */
  readonly interfaces: readonly string[];
  /** Of the XDP program; null: there is none. */
  readonly lookup: MapLookup | null;
  readonly nowTick: () => number;
}

export class Explainer {
  readonly #options: ExplainerOptions;
  readonly #hops: NextHopTable;

  constructor(options: ExplainerOptions) {
    this.#options = options;
    this.#hops = attachTables(options.memory, () => {}).nextHops;
  }

  /** Throws a DirectorError for what cannot be asked. */
  explain(request: ExplainRequest): ExplainAnswer {
    const { memory, director, interfaces, nowTick } = this.#options;
    const slot = this.#slot(request);
    const frame = this.#frame(request, slot);
    if (frame.length > FRAME_BYTES_MAX) {
      const allowed = `at most ${FRAME_BYTES_MAX} are allowed`;
      throw new DirectorError('ERR_VALUE', `a frame of ${frame.length} bytes: ${allowed}`);
    }
    const names = new Names(director, interfaces);
    const rehearsal = rehearse({ memory, names, slot, frame, tick: nowTick() });
    return {
      interface: interfaces[slot]!,
      text: describeFrame(frame),
      frame: hex(frame),
      xdp: this.#xdp(frame, slot),
      ...this.#outcome(rehearsal),
    };
  }

  #outcome(rehearsal: Rehearsal): Omit<ExplainAnswer, 'interface' | 'text' | 'frame' | 'xdp'> {
    const { interfaces } = this.#options;
    const { steps, verdict, counters, counted, connections, sent, host } = rehearsal;
    return {
      steps,
      verdict,
      meaning: MEANINGS[verdict] ?? '',
      counters,
      counted,
      connections,
      sent: sent.map((each) => explained(interfaces[each.slot]!, each.frame)),
      host: host.map((frame) => explained(null, frame)),
    };
  }

  #xdp(frame: Uint8Array, slot: number): ExplainAnswer['xdp'] {
    const { lookup } = this.#options;
    if (lookup === null) return null;
    return new XdpModel(lookup, this.#hops.links.interfaceIndex(slot)).decide(frame);
  }

  #frame(request: ExplainRequest, slot: number): Uint8Array {
    if (request.tuple === null) return Buffer.from(request.frame ?? '', 'hex');
    const { source, destination } = request.tuple;
    if (source.includes(':') !== destination.includes(':')) {
      throw new DirectorError('ERR_VALUE', `${source} and ${destination} are of two families`);
    }
    return buildTupleFrame(request.tuple, this.#macs(source, slot));
  }

  /** To the interface, from the neighbour if the source is one. */
  #macs(source: string, slot: number): Uint8Array {
    const { links, neighbours } = this.#hops;
    const words = addressWords(source);
    const [word0, word1, word2, word3] = words;
    const neighbour = source.includes(':')
      ? neighbours.find6(slot, word0!, word1!, word2!, word3!)
      : neighbours.find(slot, word0!);
    const macs = new DataView(new ArrayBuffer(2 * MAC_BYTES));
    macs.setInt32(0, links.macHigh(slot));
    macs.setUint16(4, links.macLow(slot));
    macs.setInt32(6, neighbour === 0 ? UNKNOWN_HIGH : neighbours.macHigh(neighbour));
    macs.setUint16(10, neighbour === 0 ? UNKNOWN_LOW : neighbours.macLow(neighbour));
    return new Uint8Array(macs.buffer);
  }

  #slot(request: ExplainRequest): number {
    const { interfaces } = this.#options;
    if (request.interface !== null) {
      const slot = interfaces.indexOf(request.interface);
      if (slot >= 0) return slot;
      const allowed = `xvs serves ${interfaces.join(', ')}`;
      throw new DirectorError('ERR_VALUE', `interface ${request.interface}: ${allowed}`);
    }
    const source =
      request.tuple?.source ?? ipOf(Buffer.from(request.frame ?? '', 'hex'))?.source ?? null;
    return source === null ? 0 : this.#slotTowards(source);
  }

  /** Where answers to the source would leave; the first interface when that is none of ours. */
  #slotTowards(source: string): number {
    const [word0, word1, word2, word3] = addressWords(source);
    const isIpv6 = source.includes(':');
    const routes = isIpv6 ? this.#hops.routes6 : this.#hops.routes;
    const route = isIpv6 ? routes.lookup6(word0!, word1!, word2!, word3!) : routes.lookup(word0!);
    const slot = routes.kind(route) === ROUTE_UNICAST ? routes.interfaceSlot(route) : -1;
    return Math.max(slot, 0);
  }
}

function hex(frame: Uint8Array): string {
  return Buffer.from(frame).toString('hex');
}

function explained(name: string | null, frame: Uint8Array): ExplainedFrame {
  return { interface: name, text: describeFrame(frame), frame: hex(frame) };
}
