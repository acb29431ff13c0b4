/**
 * Frames that a host of the exercise has yet to send: what came back to it as an answer, or as an
 * ICMP error about itself. Made in the frame's own chunk, without allocating, both families.
 */
import { buildIcmpError, ICMP_ERROR_PREFIX } from '../forward/icmpError';
import { buildIcmpError6, ICMP_ERROR6_PREFIX } from '../forward/icmpError6';
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4 } from '../net/ethernet';
import { ipv4Destination } from '../net/ipv4';
import { IPV6_DESTINATION } from '../net/ipv6';
import { RX_WORDS } from '../port/port';

const [UNREACHABLE, TIME_EXCEEDED, PORT, TOO_LONG] = [3, 11, 3, 4];
const [UNREACHABLE6, TOO_BIG6, TIME_EXCEEDED6, PORT6] = [1, 2, 3, 4];
const MTU = 1400;
const MTU6 = 1300;
/** As much as the quoted part may be. */
const QUOTED_MAX = 256;

const PLACES = 512;

export class Pending {
  private readonly words = new Int32Array(PLACES * RX_WORDS);
  private head = 0;
  private tail = 0;

  /** False: there is no place for it, and the frame is still the caller's. */
  add(at: number, lengthBytes: number): boolean {
    if (this.isFull) return false;
    const place = (this.head % PLACES) * RX_WORDS;
    this.words[place] = at;
    this.words[place + 1] = lengthBytes;
    this.head = (this.head + 1) & 0xffffff;
    return true;
  }

  /** As `add`, of an error about the frame. `number`: which one of several kinds. */
  addError(view: DataView, at: number, lengthBytes: number, number: number): boolean {
    if (this.isFull) return false;
    const place = (this.head % PLACES) * RX_WORDS;
    makeError(view, at, lengthBytes, number, this.words, place);
    this.head = (this.head + 1) & 0xffffff;
    return true;
  }

  private get isFull(): boolean {
    return ((this.head - this.tail) & 0xffffff) === PLACES;
  }

  /** Moves up to `max` frames into a port's rx words. Returns how many. */
  take(rx: Int32Array, max: number): number {
    let count = 0;
    while (count < max && this.tail !== this.head) {
      const place = (this.tail % PLACES) * RX_WORDS;
      rx[count * RX_WORDS] = this.words[place]!;
      rx[count * RX_WORDS + 1] = this.words[place + 1]!;
      this.tail = (this.tail + 1) & 0xffffff;
      count++;
    }
    return count;
  }
}

/**
 * Turns the frame at `at` into an error to its source, of one of three kinds by `number`, from
 * whom it was sent to. Writes where the error begins and its length into `out`, two words at `to`.
 */
function makeError(
  view: DataView,
  at: number,
  lengthBytes: number,
  number: number,
  out: Int32Array,
  to: number,
): void {
  const ip = at + ETHERNET_BYTES;
  const quoted = Math.min(lengthBytes - ETHERNET_BYTES, QUOTED_MAX);
  const kind = number % 3;
  if (ethernetType(view, at) === TYPE_IPV4) {
    const type = kind === 2 ? TIME_EXCEEDED : UNREACHABLE;
    const code = kind === 0 ? PORT : kind === 1 ? TOO_LONG : 0;
    const rest = kind === 1 ? MTU : 0;
    const source = ipv4Destination(view, ip);
    out[to] = ip - ICMP_ERROR_PREFIX;
    out[to + 1] = buildIcmpError(view, ip, quoted, type, code, rest, source, number);
    return;
  }
  const type = kind === 0 ? UNREACHABLE6 : kind === 1 ? TOO_BIG6 : TIME_EXCEEDED6;
  const source = ip + IPV6_DESTINATION;
  out[to] = ip - ICMP_ERROR6_PREFIX;
  out[to + 1] = buildIcmpError6(
    view,
    ip,
    quoted,
    type,
    kind === 0 ? PORT6 : 0,
    kind === 1 ? MTU6 : 0,
    view.getInt32(source),
    view.getInt32(source + 4),
    view.getInt32(source + 8),
    view.getInt32(source + 12),
  );
}
