/**
 * The packet that an ICMP error quotes: its headers as far as they are there. Nothing of it can be
 * believed: who sends the error writes it. No field is read that does not lie in the message, and
 * none is taken for more than a key to look up.
 */
import {
  EXTENSION_BYTES_MIN,
  EXTENSIONS_MAX,
  extensionBytes6,
  isExtension6,
} from '../net/extension6';
import { FRAGMENT6_BYTES, fragmentOffset6 } from '../net/fragment';
import { icmpChecksumHolds } from '../net/icmp';
import { icmp6ChecksumHolds } from '../net/icmp6';
import { ISAKMP_PORTS, isIpsec } from '../net/ipsec';
import {
  IPV4_BYTES_MIN,
  ipv4Fragment,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4TotalLength,
  ipv4Version,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../net/ipv4';
import {
  IPV6_BYTES,
  IPV6_SOURCE,
  ipv6NextHeader,
  ipv6PayloadLength,
  ipv6Version,
  PROTOCOL_FRAGMENT,
  PROTOCOL_ICMP6,
} from '../net/ipv6';
import { PROTOCOL_SCTP } from '../net/sctp';
import { ports } from '../net/transport';

const FRAGMENT_OFFSET4 = 0x1fff;
const PORTS_BYTES = 4;
const FRAGMENT_HEADER = FRAGMENT6_BYTES;

export class QuotedPacket {
  isIpv4 = true;
  /** Its IP header. */
  ip = 0;
  /** What follows IP's headers; not behind `end`. */
  transport = 0;
  /** Of what `transport` points at. */
  protocol = 0;
  /** Where the quote ends: with the message, or with the packet itself. */
  end = 0;

  /**
   * Reads the IP headers at `at`; `end`: where the message ends. False: they are not whole, make
   * no sense, or belong to a later fragment, which has no ports.
   */
  read(view: DataView, at: number, end: number, isIpv4: boolean): boolean {
    this.ip = at;
    this.isIpv4 = isIpv4;
    return isIpv4 ? this.read4(view, at, end) : this.read6(view, at, end);
  }

  private read4(view: DataView, at: number, end: number): boolean {
    if (end - at < IPV4_BYTES_MIN || ipv4Version(view, at) !== 4) return false;
    const headerBytes = ipv4HeaderBytes(view, at);
    const total = ipv4TotalLength(view, at);
    if (headerBytes < IPV4_BYTES_MIN || total < headerBytes) return false;
    this.end = Math.min(end, at + total);
    this.transport = at + headerBytes;
    this.protocol = ipv4Protocol(view, at);
    return this.transport <= this.end && (ipv4Fragment(view, at) & FRAGMENT_OFFSET4) === 0;
  }

  private read6(view: DataView, at: number, end: number): boolean {
    if (end - at < IPV6_BYTES || ipv6Version(view, at) !== 6) return false;
    this.end = Math.min(end, at + IPV6_BYTES + ipv6PayloadLength(view, at));
    this.transport = at + IPV6_BYTES;
    this.protocol = ipv6NextHeader(view, at);
    for (let walked = 0; walked < EXTENSIONS_MAX; walked++) {
      const { protocol } = this;
      if (protocol !== PROTOCOL_FRAGMENT && !isExtension6(protocol)) return true;
      if (!this.skipExtension(view)) return false;
    }
    return false;
  }

  private skipExtension(view: DataView): boolean {
    const at = this.transport;
    if (this.end - at < EXTENSION_BYTES_MIN) return false;
    const isFragment = this.protocol === PROTOCOL_FRAGMENT;
    if (isFragment && fragmentOffset6(view, at) !== 0) return false;
    // Asked in any case: compiled code would not know a branch as rare as this.
    const own = extensionBytes6(view, at, this.protocol);
    const bytes = isFragment ? FRAGMENT_HEADER : own;
    this.protocol = view.getUint8(at);
    this.transport = at + bytes;
    return this.transport <= this.end;
  }

  /** Are ports of its own there, of a protocol that balances? */
  get hasPorts(): boolean {
    if (this.end - this.transport < PORTS_BYTES) return false;
    const { protocol } = this;
    return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
  }

  /** Could it be a connection's? */
  get isFollowed(): boolean {
    return this.hasPorts || this.isOfIpsec;
  }

  private get isOfIpsec(): boolean {
    return isIpsec(this.protocol);
  }

  /** As its connection has it. */
  get connectionProtocol(): number {
    return this.isOfIpsec ? PROTOCOL_UDP : this.protocol;
  }

  /** source << 16 | destination, as its connection has them. Only when `isFollowed`. */
  ports(view: DataView): number {
    return this.isOfIpsec ? ISAKMP_PORTS : ports(view, this.transport);
  }
}

/** Does the checksum of the error at `icmp` hold, behind the header at `ip` of `total` bytes? */
export function isErrorWhole(view: DataView, ip: number, icmp: number, total: number): boolean {
  const lengthBytes = ip + total - icmp;
  if (ipv4Version(view, ip) === 4) return icmpChecksumHolds(view, icmp, lengthBytes);
  return icmp6ChecksumHolds(view, icmp, ip + IPV6_SOURCE, PROTOCOL_ICMP6, lengthBytes);
}
