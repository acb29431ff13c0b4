/**
 * Getting cache lines of a table on their way from memory before they are needed, many at once:
 * with a million connections every packet meets two lines that no cache holds. The addon does it
 * with the CPU's own instruction (native/xsk-napi); without the addon plain reads do, which hold
 * the CPU up until the lines are there, but together (docs/bench.md: 35 ns a packet against 18).
 */

/** Fetches the lines of the first `count` of the places that it was made for. */
export interface Prefetcher {
  fetch(count: number): void;
}

/**
 * Makes one for lines of `1 << shift` words in `table`: line `places[i] & mask`. `places` has a
 * multiple of eight words.
 */
export type MakePrefetcher = (
  table: Int32Array,
  places: Int32Array,
  mask: number,
  shift: number,
) => Prefetcher;

/**
 * Reads one word of each line. Nothing else is done meanwhile, and eight in a step: the fewer
 * instructions a read takes, the more of them a CPU has under way.
 */
class ReadingPrefetcher implements Prefetcher {
  private readonly table: Int32Array;
  private readonly places: Int32Array;
  private readonly mask: number;
  private readonly shift: number;
  /** Keeps the reads from being optimised away. */
  private seen = 0;

  constructor(table: Int32Array, places: Int32Array, mask: number, shift: number) {
    this.table = table;
    this.places = places;
    this.mask = mask;
    this.shift = shift;
  }

  fetch(count: number): void {
    const table = this.table;
    const places = this.places;
    const mask = this.mask;
    const shift = this.shift;
    let seen = 0;
    for (let i = 0; i < count; i += 8) {
      seen ^=
        table[(places[i]! & mask) << shift]! ^
        table[(places[i + 1]! & mask) << shift]! ^
        table[(places[i + 2]! & mask) << shift]! ^
        table[(places[i + 3]! & mask) << shift]! ^
        table[(places[i + 4]! & mask) << shift]! ^
        table[(places[i + 5]! & mask) << shift]! ^
        table[(places[i + 6]! & mask) << shift]! ^
        table[(places[i + 7]! & mask) << shift]!;
    }
    this.seen ^= seen;
  }
}

export const prefetchByReading: MakePrefetcher = (table, places, mask, shift) =>
  new ReadingPrefetcher(table, places, mask, shift);
