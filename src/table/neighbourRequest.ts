/**
 * "This neighbour, please": from workers to the control plane, for neighbours that have no slot
 * yet. A small bag of cells in shared memory; a neighbour already asked for is not asked twice.
 *
 * Any worker claims a free cell with a compare-exchange (rare: once for a new neighbour), fills it
 * and marks it READY; the control plane empties READY cells. When the bag is full the request is
 * counted as lost; the worker's next frame asks again. Host byte order.
 */

import { words } from '../layout/record';
import type { HostAddress } from './address6';

export const REQUEST_CELLS = 128;

const CELL = words('neighbour request', 8, {
  state: 1,
  interfaceSlot: 1,
  address: 4, // IPv4 in the first word
  family: 1, // 4 or 6
  reserved: 1,
});
const CELL_SHIFT = 3;
const CELL_SIZE = 1 << CELL_SHIFT;
const { state: STATE, interfaceSlot: INTERFACE_SLOT, address: ADDRESS, family: FAMILY } = CELL.at;
const IPV4 = 4;
const IPV6 = 6;
const EMPTY = 0;
const FILLING = 1;
const READY = 2;
/** After the cells: how many requests found no cell. */
const LOST = REQUEST_CELLS << CELL_SHIFT;

export class NeighbourRequests {
  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer((LOST + 1) * 4);
  }

  private readonly words: Int32Array;
  /** Control plane: cells found FILLING at the last drain; a dead worker's cell is freed so. */
  private readonly fillingBefore = new Uint8Array(REQUEST_CELLS);

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  /** Worker: true when this made a new request, so that the control plane must be woken. */
  add(interfaceSlot: number, address: number): boolean {
    return this.addHost(IPV4, interfaceSlot, address, 0, 0, 0);
  }

  /** As add, for an IPv6 neighbour. */
  add6(interfaceSlot: number, word0: number, word1: number, word2: number, word3: number): boolean {
    return this.addHost(IPV6, interfaceSlot, word0, word1, word2, word3);
  }

  private addHost(
    family: number,
    interfaceSlot: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
  ): boolean {
    const cells = this.words;
    let empty = -1;
    for (let at = 0; at < LOST; at += CELL_SIZE) {
      const state = cells[at + STATE];
      if (state === EMPTY) {
        empty = empty < 0 ? at : empty;
      } else if (
        state === READY &&
        cells[at + ADDRESS] === word0 &&
        cells[at + ADDRESS + 1] === word1 &&
        cells[at + ADDRESS + 2] === word2 &&
        cells[at + ADDRESS + 3] === word3 &&
        cells[at + INTERFACE_SLOT] === interfaceSlot &&
        cells[at + FAMILY] === family
      ) {
        return false;
      }
    }
    for (let at = empty; at >= 0 && at < LOST; at += CELL_SIZE) {
      if (Atomics.compareExchange(cells, at + STATE, EMPTY, FILLING) === EMPTY) {
        cells[at + ADDRESS] = word0;
        cells[at + ADDRESS + 1] = word1;
        cells[at + ADDRESS + 2] = word2;
        cells[at + ADDRESS + 3] = word3;
        cells[at + INTERFACE_SLOT] = interfaceSlot;
        cells[at + FAMILY] = family;
        Atomics.store(cells, at + STATE, READY);
        return true;
      }
    }
    Atomics.add(cells, LOST, 1);
    return false;
  }

  /** Control plane: hands over each request; one the callback does not take (false) stays. */
  drain(take: (interfaceSlot: number, address: HostAddress) => boolean): void {
    const cells = this.words;
    for (let cell = 0; cell < REQUEST_CELLS; cell++) {
      const at = cell << CELL_SHIFT;
      const state = Atomics.load(cells, at + STATE);
      if (state === READY && take(cells[at + INTERFACE_SLOT]!, this.address(at))) {
        Atomics.store(cells, at + STATE, EMPTY);
      }
    }
  }

  private address(at: number): HostAddress {
    const word = (index: number): number => this.words[at + ADDRESS + index]!;
    return this.words[at + FAMILY] === IPV4 ? word(0) : [word(0), word(1), word(2), word(3)];
  }

  /**
   * Control plane, at intervals of a second or more: frees cells that a worker claimed before the
   * last call and never filled, which only a worker that died in between does.
   */
  reclaim(): void {
    for (let cell = 0; cell < REQUEST_CELLS; cell++) {
      const at = (cell << CELL_SHIFT) + STATE;
      const filling = Atomics.load(this.words, at) === FILLING;
      if (filling && this.fillingBefore[cell] === 1) {
        Atomics.store(this.words, at, EMPTY);
      }
      this.fillingBefore[cell] = filling ? 1 : 0;
    }
  }

  /** Requests that found no cell. */
  get lostCount(): number {
    return Atomics.load(this.words, LOST);
  }
}
