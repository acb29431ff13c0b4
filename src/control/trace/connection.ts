/** The connection of a frame: parsed by the worker's own parser, found in the shared table. */
import { PROTOCOL_ICMP } from '../../net/ipv4';
import { PROTOCOL_ICMP6 } from '../../net/ipv6';
import { CONNECTION, CONNECTION_METHOD_SHIFT, type ConnectionTable } from '../../table/connection';
import { GO_ON } from '../../table/counter';
import type { Tables } from '../../table/memory';
import { FAMILY_IPV4, Packet } from '../../worker/packet';
import { parsePacket } from '../../worker/parsePacket';
import { EntryAddress, EntryCopy, listConnection } from '../connectionListing';
import { NO_PORT } from '../noPort';
import type { ForwardingMethodName } from '../protocol';
import type { TracedConnection } from './protocol';

/** By their numbers in the tables. */
const METHODS: readonly ForwardingMethodName[] = [
  'nat',
  'local',
  'tunnel',
  'dr',
  'bypass',
  'fullnat',
];

export class ConnectionFinder {
  readonly #connections: ConnectionTable;
  readonly #seed: number;
  readonly #packet = new Packet(NO_PORT);
  readonly #copy = new EntryCopy();
  readonly #address: EntryAddress;

  constructor(tables: Tables) {
    this.#connections = tables.connections;
    this.#seed = tables.settings.hashSeed;
    this.#address = new EntryAddress(tables.realServers);
  }

  /** Of the frame that begins with `bytes`; null: it has none, or too little of it was kept. */
  find(bytes: Uint8Array, lengthBytes: number): TracedConnection | null {
    const tick = Number(process.hrtime.bigint() / 100_000_000n) | 0;
    let entry: number;
    try {
      entry = this.#locate(
        new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
        lengthBytes,
        tick,
      );
    } catch (error) {
      if (error instanceof RangeError) return null;
      throw error;
    }
    return entry === 0 ? null : this.#describe(entry, tick);
  }

  /** Its entry, 0 for none. Throws a RangeError where the parser needs more than there is. */
  #locate(view: DataView, lengthBytes: number, tick: number): number {
    const packet = this.#packet;
    packet.at = 0;
    packet.tick = tick;
    if (parsePacket(view, packet, lengthBytes, this.#seed) !== GO_ON) return 0;
    const { protocol, kind, hash, ports, sourceAt, destinationAt } = packet;
    if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMP6) return 0;
    if (packet.family === FAMILY_IPV4) {
      const [source, destination] = [view.getInt32(sourceAt), view.getInt32(destinationAt)];
      return this.#connections.find(hash, kind, source, destination, ports, tick);
    }
    return this.#connections.find6(hash, kind, view, sourceAt, destinationAt, ports, tick);
  }

  #describe(entry: number, tick: number): TracedConnection | null {
    this.#copy.take(this.#connections, entry);
    const listed = listConnection(this.#copy, 0, tick, this.#address);
    if (listed === null) return null;
    const state = this.#copy.entries[CONNECTION.at.state]!;
    const endpoint = (address: string, port: number) =>
      address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
    return {
      protocol: listed.protocol,
      client: endpoint(listed.client, listed.clientPort),
      virtual: endpoint(listed.virtual, listed.virtualPort),
      real: endpoint(listed.real, listed.realPort),
      method: METHODS[(state >>> CONNECTION_METHOD_SHIFT) & 0xf] ?? 'nat',
      state: listed.state,
    };
  }
}
