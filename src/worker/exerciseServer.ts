/**
 * The servers' side of the exercise: answers what it gets by swapping addresses and ports in place,
 * both families, fragments too; loses some, and refuses some with an ICMP error, as a router on the
 * way would. What comes in a tunnel is refused or ends here.
 */
import { adjusted, difference } from '../net/checksum';
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4 } from '../net/ethernet';
import { FRAGMENT6_BYTES, fragmentOffset4, fragmentOffset6 } from '../net/fragment';
import { ipv4HeaderBytes, ipv4Protocol, PROTOCOL_TCP, PROTOCOL_UDP } from '../net/ipv4';
import {
  IPV6_BYTES,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  ipv6NextHeader,
  PROTOCOL_FRAGMENT,
} from '../net/ipv6';
import { PROTOCOL_SCTP } from '../net/sctp';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../net/tcp';
import { TX_WORDS } from '../port/port';
import type { Umem } from '../port/umem';
import type { PacketSocket } from '../port/xdpPort';
import { Damage, patchIp } from './exerciseDamage';
import { Pending } from './exerciseErrors';
import { SERVER_SEQUENCE } from './exerciseFrames';

const LOST_EVERY = 16;
const LAST_HOP_EVERY = 64;
const REFUSED_EVERY = 24;
const SEED = 0xbad5eed;
const GUE_PORT = 6080;
const HOP_LIMIT = 7;
const [SOURCE4, DESTINATION4] = [12, 16];

export class ServerSocket implements PacketSocket {
  private readonly umem: Umem;
  private readonly view: DataView;
  private readonly rx: Int32Array;
  private readonly tx: Int32Array;
  private readonly pending = new Pending();
  readonly damage: Damage;
  private came = 0;
  private refused = 0;

  constructor(umem: Umem, tx: Int32Array) {
    this.umem = umem;
    this.view = umem.view;
    this.rx = umem.rx;
    this.tx = tx;
    this.damage = new Damage(umem.view, SEED);
  }

  rxBurst(max: number): number {
    const count = this.pending.take(this.rx, max);
    for (let i = 0; i < count; i++) this.damage.perhaps(this.rx, i);
    return count;
  }

  txBurst(count: number): number {
    for (let i = 0; i < count; i++) {
      const at = this.tx[i * TX_WORDS]!;
      const length = this.tx[i * TX_WORDS + 1]!;
      if (!this.takes(at, length)) this.umem.release(at);
    }
    return count;
  }

  statistics(): void {}
  levels(): void {}
  close(): void {}

  private takes(at: number, length: number): boolean {
    this.came = (this.came + 1) & 0xffff;
    const came = this.came;
    if (came % LOST_EVERY === 0) return false;
    if (came % REFUSED_EVERY === 0) {
      this.refused = (this.refused + 1) & 0xffff;
      return this.pending.addError(this.view, at, length, this.refused);
    }
    const isLastHop = came % LAST_HOP_EVERY === 1;
    return this.answer(at, isLastHop) && this.pending.add(at, length);
  }

  /** True when the frame is now an answer. */
  private answer(at: number, isLastHop: boolean): boolean {
    const view = this.view;
    const ip = at + ETHERNET_BYTES;
    if (ethernetType(view, at) === TYPE_IPV4) {
      swap(view, ip + SOURCE4, ip + DESTINATION4, 4);
      if (isLastHop) patchIp(view, at, 8, 1, 0);
      if (fragmentOffset4(view, ip) !== 0) return true;
      return this.answerTransport(ip + ipv4HeaderBytes(view, ip), ipv4Protocol(view, ip));
    }
    swap(view, ip + IPV6_SOURCE, ip + IPV6_DESTINATION, 16);
    if (isLastHop) view.setUint8(ip + HOP_LIMIT, 1);
    const next = ipv6NextHeader(view, ip);
    const behind = ip + IPV6_BYTES;
    if (next !== PROTOCOL_FRAGMENT) return this.answerTransport(behind, next);
    if (fragmentOffset6(view, behind) !== 0) return true;
    return this.answerTransport(behind + FRAGMENT6_BYTES, view.getUint8(behind));
  }

  private answerTransport(transport: number, protocol: number): boolean {
    const view = this.view;
    const isTcp = protocol === PROTOCOL_TCP;
    if (!isTcp && protocol !== PROTOCOL_UDP && protocol !== PROTOCOL_SCTP) return false;
    const ports = view.getInt32(transport);
    if (protocol === PROTOCOL_UDP && (ports & 0xffff) === GUE_PORT) return false;
    view.setInt32(transport, (ports << 16) | (ports >>> 16));
    return isTcp ? this.answerTcp(transport) : true;
  }

  private answerTcp(transport: number): boolean {
    const view = this.view;
    const before = view.getUint16(transport + 12);
    if ((before & TCP_RST) !== 0) return false;
    const isSyn = (before & TCP_SYN) !== 0;
    const after = isSyn || (before & TCP_FIN) !== 0 ? before | TCP_ACK : before;
    view.setUint16(transport + 12, after);
    const sequence = view.getInt32(transport + 4);
    const own = isSyn ? SERVER_SEQUENCE : SERVER_SEQUENCE + 1;
    view.setInt32(transport + 4, own);
    const gain = (~before & 0xffff) + after + difference(sequence, own);
    view.setUint16(transport + 16, adjusted(view.getUint16(transport + 16), gain));
    return true;
  }
}

/** Exchanges two addresses of `bytes` bytes. */
function swap(view: DataView, one: number, other: number, bytes: number): void {
  for (let offset = 0; offset < bytes; offset += 4) {
    const word = view.getInt32(one + offset);
    view.setInt32(one + offset, view.getInt32(other + offset));
    view.setInt32(other + offset, word);
  }
}
