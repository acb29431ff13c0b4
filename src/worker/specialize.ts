/**
 * Code for the objects of one worker. What a function has captured V8 takes for constant, if no
 * other function was ever made from the same place of a text: it then knows where each table lies
 * and how long it is, and what was a chain of loads from the object down to the word is one load
 * (docs/bench.md: a fifth of a packet's time). So each function made here has a text of its own,
 * a line long. Otherwise nothing here is made from text: what it calls is the class as written.
 *
 * They are compiled all at once, before frames come, out of what the warm-up (warmUp.ts) has shown
 * V8 of the methods. They stay apart: the caller is compiled first, while V8 has seen nothing yet
 * of the function that it calls, and so cannot put that into it. A way that few packets take thus
 * leaves the common one its registers.
 */
import { runInThisContext } from 'node:vm';
import { compileForGood, engineFunction, INLINED_BYTES, withInliningRoom } from './engine';

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
/** Bytes of bytecode in one function: for all that is called more than now and then. */
const ROOM = 3 * INLINED_BYTES;
/** With which V8 would look at no further call: never. */
const ROOM_ABSOLUTE = 40_000;
/** V8's runtime.h, OptimizationStatus: compiled by the optimising compiler. */
const TURBOFANNED = 1 << 6;

/** One of V8's own functions, about a function. */
type Use = (f: Call) => unknown;

interface Made {
  readonly name: string;
  readonly call: Call;
  readonly idle: readonly unknown[];
}

/** Of this thread, in which a bench may have several workers: V8 remembers texts it has seen. */
let texts = 0;

export class Specializer {
  private readonly made: Made[] = [];

  readonly join: Join = (object, method, ...idle) => {
    const words = idle.map((_, at) => `word${at}`).join(', ');
    const name = `${method} ${++texts}`;
    const text = `(object) => ({ ${method}: (${words}) => object.${method}(${words}) }) // ${name}`;
    const holder = runInThisContext(text, { filename: `specialized ${name}` })(object);
    const call = holder[method] as Call;
    this.made.push({ name, call, idle });
    return call as (typeof object)[typeof method];
  };

  /**
   * Compiles all functions that were made: callers have been made after what they call. Returns the
   * names of those that V8 did not compile, which work all the same. Sets V8's flags.
   */
  compile(): readonly string[] {
    const prepare = engineFunction<Use>('(f) => %PrepareFunctionForOptimization(f)');
    const optimize = engineFunction<Use>('(f) => %OptimizeFunctionOnNextCall(f)');
    const status = engineFunction<Use>('(f) => %GetOptimizationStatus(f)');
    const made = this.made.splice(0).reverse();
    withInliningRoom(ROOM, ROOM_ABSOLUTE, () =>
      compileForGood(() => {
        for (const { call, idle } of made) {
          prepare(call);
          for (let time = 0; time < IDLE_CALLS; time++) call(...(idle as never[]));
          optimize(call);
          call(...(idle as never[]));
        }
      }),
    );
    const isCompiled = (call: Call) => ((status(call) as number) & TURBOFANNED) !== 0;
    return made.filter(({ call }) => !isCompiled(call)).map(({ name }) => name);
  }
}
