/**
 * "This neighbour, please": from workers to the control plane, for neighbours that have no slot
 * yet. A small bag of cells in shared memory; a neighbour already asked for is not asked twice.
 *
 * Any worker claims a free cell with a compare-exchange (rare: once for a new neighbour), fills it
 * and marks it READY; the control plane empties READY cells. When the bag is full the request is
 * counted as lost; the worker's next frame asks again. Host byte order.
 */

import { words } from '../layout/record';

export const REQUEST_CELLS = 128;

const CELL = words('neighbour request', 8, {
  state: 1,
  interfaceSlot: 1,
  address: 4, // IPv4 in the first word
  reserved: 2,
});
const CELL_SHIFT = 3;
const { state: STATE, interfaceSlot: INTERFACE_SLOT, address: ADDRESS } = CELL.at;
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
    const cells = this.words;
    let empty = -1;
    for (let at = 0; at < LOST; at += CELL.size) {
      const state = cells[at + STATE];
      if (state === EMPTY) {
        empty = empty < 0 ? at : empty;
      } else if (
        state === READY &&
        cells[at + ADDRESS] === address &&
        cells[at + INTERFACE_SLOT] === interfaceSlot
      ) {
        return false;
      }
    }
    for (let at = empty; at >= 0 && at < LOST; at += CELL.size) {
      if (Atomics.compareExchange(cells, at + STATE, EMPTY, FILLING) === EMPTY) {
        cells[at + ADDRESS] = address;
        cells[at + INTERFACE_SLOT] = interfaceSlot;
        Atomics.store(cells, at + STATE, READY);
        return true;
      }
    }
    Atomics.add(cells, LOST, 1);
    return false;
  }

  /** Control plane: hands over each request; one the callback does not take (false) stays. */
  drain(take: (interfaceSlot: number, address: number) => boolean): void {
    const cells = this.words;
    for (let cell = 0; cell < REQUEST_CELLS; cell++) {
      const at = cell << CELL_SHIFT;
      const state = Atomics.load(cells, at + STATE);
      if (state === READY && take(cells[at + INTERFACE_SLOT]!, cells[at + ADDRESS]!)) {
        Atomics.store(cells, at + STATE, EMPTY);
      }
    }
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
