/**
 * Code for the objects of one worker. What a function has captured V8 takes for constant, if no
 * other function was ever made from the same place of the text: it then knows where each table lies
 * and how long it is, and what was a chain of loads from the object down to the word is a load
 * (docs/bench.md: a quarter of a packet's time). So each function made here has a text of its own.
 *
 * They are compiled all at once, before frames come, out of what the warm-up (warmUp.ts) has shown
 * V8 of the methods. They stay apart: the caller is compiled first, while V8 has seen nothing yet
 * of the function that it calls, and so cannot put that into it. A way that few packets take thus
 * leaves the common one its registers.
 */
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { INLINED_ABSOLUTE, INLINED_BYTES } from './engine';

type Call = (...words: never[]) => unknown;
type Calls<T> = { [K in keyof T]: T[K] extends Call ? K : never }[keyof T] & string;
type Words<F> = F extends (...words: infer W) => unknown ? W : never;

/**
 * Makes a function of a method of an object; `idle`: words with which the method does nothing, one
 * for each that it takes.
 */
export type Join = <T, K extends Calls<T>>(object: T, method: K, ...idle: Words<T[K]>) => T[K];

/** For pipelines that are not a worker's own. */
export const joinPlainly: Join = (object, method, ..._idle) =>
  (object[method] as Call).bind(object) as (typeof object)[typeof method];

/** Calls by which V8 learns whom a function calls. */
const IDLE_CALLS = 16;
/** Bytes of bytecode in one function: all that is called more than now and then, and some room. */
const ROOM = 3 * INLINED_BYTES;
const ROOM_ABSOLUTE = 40_000;

export class Specializer {
  private readonly made: { readonly call: Call; readonly idle: readonly unknown[] }[] = [];

  readonly join: Join = (object, method, ...idle) => {
    const words = idle.map((_, at) => `word${at}`).join(', ');
    const text = `(object) => ({ ${method}: (${words}) => object.${method}(${words}) })`;
    const holder = runInThisContext(text, { filename: `specialized ${method}` })(object);
    const call = holder[method] as Call;
    this.made.push({ call, idle });
    return call as (typeof object)[typeof method];
  };

  /** Compiles all functions that were made: callers have been made after what they call. */
  compile(): void {
    // Stays on: a thread that starts at the same time may be about to use it.
    setFlagsFromString('--allow-natives-syntax');
    const prepare = runInThisContext('((f) => %PrepareFunctionForOptimization(f))');
    const optimize = runInThisContext('((f) => %OptimizeFunctionOnNextCall(f))');
    setRoom(ROOM, ROOM_ABSOLUTE);
    for (const { call, idle } of this.made.splice(0).reverse()) {
      prepare(call);
      for (let time = 0; time < IDLE_CALLS; time++) call(...(idle as never[]));
      optimize(call);
      // As in the warm-up: what no packet has met yet does not fail when one does.
      setFlagsFromString('--always-turbofan');
      call(...(idle as never[]));
      setFlagsFromString('--no-always-turbofan');
    }
    setRoom(INLINED_BYTES, INLINED_ABSOLUTE);
  }
}

function setRoom(cumulative: number, absolute: number): void {
  setFlagsFromString(`--max-inlined-bytecode-size-cumulative=${cumulative}`);
  setFlagsFromString(`--max-inlined-bytecode-size-absolute=${absolute}`);
}
