import type { Specializer } from '#xvs/worker/specialize';

/** What a bench measures is compiled code: throws an Error when V8 left some of it as it was. */
export function compileAll(specializer: Specializer): void {
  const left = specializer.compile();
  if (left.length > 0) throw new Error(`V8 did not compile ${left.join(', ')}`);
}
