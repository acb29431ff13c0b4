/** The rooms of one worker, put together: who knows whom. */
import type { HostPort, Port } from '../port/port';
import type { Umem } from '../port/umem';
import { LINKS_MAX } from '../table/link';
import type { Tables } from '../table/memory';
import { Arrival } from './arrival';
import { Departure } from './departure';
import { Egress } from './egress';
import { ErrorArrival } from './errorArrival';
import { Expiry } from './expire';
import { Forwarder } from './forwarder';
import { Fragments } from './fragments';
import { Fullnat } from './fullnat';
import { GeneralPath } from './general';
import { IcmpSender } from './icmp';
import { IcmpRelay } from './icmpRelay';
import { Packet } from './packet';
import { Tracker } from './track';
import { Tunnel } from './tunnel';

export class Rooms {
  readonly egress: Egress;
  readonly expiry: Expiry;
  readonly tracker: Tracker;
  readonly departure: Departure;
  readonly general: GeneralPath;
  readonly fragments: Fragments;
  /** The packet in hand. */
  readonly packet: Packet;

  /** `given`: ports by interface slot. Throws a RangeError when there is none. */
  constructor(
    tables: Tables,
    worker: number,
    umem: Umem,
    given: readonly (Port | null)[],
    host: HostPort,
  ) {
    const { view } = umem;
    const ports = listBySlot(given);
    const port = ports.find((each) => each !== null);
    if (port === undefined || port === null) {
      throw new RangeError(`worker ${worker} has no port: at least one is needed`);
    }
    const expiry = new Expiry(tables, worker);
    const egress = new Egress(umem, ports, host, tables.nextHops, tables.counters[worker]!);
    const icmp = new IcmpSender(tables, worker, umem, egress);
    const tracker = new Tracker(tables, worker, expiry);
    const departure = new Departure(tables, view, icmp);
    const fullnat = new Fullnat(tables, worker, umem, egress, departure);
    const tunnel = new Tunnel(tables, worker, view, port, departure, egress, icmp);
    const forwarder = new Forwarder(tables, worker, umem, egress, departure, tunnel, fullnat);
    const arrival = new Arrival(tables, worker, view, expiry, icmp, fullnat);
    const errors = new ErrorArrival(tables, view, expiry, arrival, port);
    const relay = new IcmpRelay(tables, umem, departure, egress, tracker, forwarder, icmp, errors);
    this.fragments = new Fragments(tables, worker, umem, ports, forwarder, egress, tracker);
    this.general = new GeneralPath(
      tables,
      worker,
      umem,
      arrival,
      tracker,
      forwarder,
      egress,
      relay,
      this.fragments,
    );
    expiry.fullnat = fullnat;
    this.egress = egress;
    this.expiry = expiry;
    this.tracker = tracker;
    this.departure = departure;
    this.packet = new Packet(port);
  }
}

/**
 * One place for each slot. Made by `push`, for an array that is made with its length, and filled
 * afterwards, is another to V8: one that may have holes.
 */
function listBySlot(ports: readonly (Port | null)[]): readonly (Port | null)[] {
  const list: (Port | null)[] = [];
  for (let slot = 0; slot < LINKS_MAX; slot++) list.push(ports[slot] ?? null);
  return list;
}
