/**
 * Threads that go through the same stages together. Workers that get ready at the same time set
 * V8's flags, which are the process's: in lockstep they all want the same ones at any moment.
 */

/** Written once, by whoever makes the memory. */
const MEMBERS = 0;
/** Added to by each member that comes; the last one sets it back. */
const ARRIVED = 1;
/** How often all have met; written by the last one to come. */
const MEETINGS = 2;
const WORDS = 3;

export class Lockstep {
  private readonly words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory);
  }

  static memory(members: number): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(WORDS * 4);
    new Int32Array(memory)[MEMBERS] = members;
    return memory;
  }

  /** Waits until all members are here: for ever, if one of them is not to come. */
  meet(): void {
    const { words } = this;
    const meetings = Atomics.load(words, MEETINGS);
    if (Atomics.add(words, ARRIVED, 1) + 1 < words[MEMBERS]!) {
      Atomics.wait(words, MEETINGS, meetings);
      return;
    }
    Atomics.store(words, ARRIVED, 0);
    Atomics.add(words, MEETINGS, 1);
    Atomics.notify(words, MEETINGS);
  }
}
