/** Packets in hand for tests that call rooms without frames: addresses and ports, no more. */
import { IPV4_DESTINATION, IPV4_SOURCE } from '#xvs/net/ipv4';
import type { Port } from '#xvs/port/port';
import { connectionHash } from '#xvs/table/connection';
import { Packet } from '#xvs/worker/packet';

const IP = 14;

export class PacketMaker {
  readonly view = new DataView(new SharedArrayBuffer(128));
  readonly #packet: Packet;

  constructor(port: Port) {
    this.#packet = new Packet(port);
  }

  /** An IPv4 packet of a client; the same object each time. */
  make(
    seed: number,
    protocol: number,
    client: number,
    virtual: number,
    ports: number,
    tick: number,
  ): Packet {
    const packet = this.#packet;
    packet.ip = IP;
    packet.sourceAt = IP + IPV4_SOURCE;
    packet.destinationAt = IP + IPV4_DESTINATION;
    this.view.setInt32(packet.sourceAt, client);
    this.view.setInt32(packet.destinationAt, virtual);
    packet.protocol = protocol;
    packet.kind = protocol;
    packet.ports = ports;
    packet.hash = connectionHash(seed, protocol, client, virtual, ports);
    packet.tick = tick;
    return packet;
  }
}
