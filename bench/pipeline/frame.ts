/** The frames of the bench: 60 bytes of Ethernet, complete with all checksums. */
import { fold, halves, sumBytes } from '#xvs/net/checksum';
import { setEthernetAddresses, setEthernetType, TYPE_IPV4 } from '#xvs/net/ethernet';
import { PROTOCOL_TCP, writeIpv4 } from '#xvs/net/ipv4';

export const TCP_SYN = 0x02;
export const TCP_ACK = 0x10;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
/** Ethernet 14, IPv4 20: what is left of 60 bytes; a TCP frame ends with 6 bytes of padding. */
const UDP_LENGTH = 26;
const TTL = 64;

export interface Flow {
  readonly protocol: number;
  readonly client: number;
  readonly clientPort: number;
  readonly virtual: number;
  readonly virtualPort: number;
  server: number;
  serverPort: number;
}

export class FrameWriter {
  readonly #view: DataView;

  constructor(view: DataView) {
    this.#view = view;
  }

  /** Client to virtual service. `flags`: TCP only. */
  writeInbound(at: number, flow: Flow, flags: number): void {
    this.#write(
      at,
      flow.protocol,
      flow.client,
      flow.virtual,
      (flow.clientPort << 16) | flow.virtualPort,
      flags,
    );
  }

  /** Real server to client. */
  writeOutbound(at: number, flow: Flow, flags: number): void {
    this.#write(
      at,
      flow.protocol,
      flow.server,
      flow.client,
      (flow.serverPort << 16) | flow.clientPort,
      flags,
    );
  }

  #write(
    at: number,
    protocol: number,
    source: number,
    destination: number,
    ports: number,
    flags: number,
  ): void {
    const view = this.#view;
    const length = protocol === PROTOCOL_TCP ? TCP_BYTES : UDP_LENGTH;
    setEthernetAddresses(view, at, 0x02000000, 0x0001, 0x02000000, 0x00fe);
    setEthernetType(view, at, TYPE_IPV4);
    writeIpv4(view, at + 14, 0, 20 + length, ports & 0xffff, protocol, TTL, source, destination);
    const transport = at + 34;
    for (let offset = 0; offset < UDP_LENGTH; offset += 2) view.setUint16(transport + offset, 0);
    view.setInt32(transport, ports);
    if (protocol === PROTOCOL_TCP) {
      view.setInt32(transport + 4, source ^ ports);
      view.setUint16(transport + 12, (5 << 12) | flags);
      view.setUint16(transport + 14, 0xffff);
    } else {
      view.setUint16(transport + 4, length);
      view.setInt32(transport + UDP_BYTES, source ^ ports);
    }
    const sum =
      halves(source) + halves(destination) + protocol + length + sumBytes(view, transport, length);
    const checksum = ~fold(sum) & 0xffff;
    const offset = protocol === PROTOCOL_TCP ? 16 : 6;
    view.setUint16(transport + offset, checksum === 0 ? 0xffff : checksum);
  }
}
