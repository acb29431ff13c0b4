/**
 * What every packet that a filter wants has in common: for plain IPv4 (no options) and for plain
 * IPv6 up to two tests of one word each, one of which every wanted frame passes. The worker looks
 * at them first; they may let through what is unwanted, never the other way round.
 */
import { TYPE_IPV4, TYPE_IPV6 } from '../../net/ethernet';
import type { Test, Tree } from './filterTree';

/** See TRACE_QUICK. */
export interface Quick {
  readonly offset: number;
  readonly mask: number;
  readonly value: number;
}

const NEVER: Quick = { offset: 0, mask: 0, value: 1 };
const ALWAYS: Quick = { offset: 0, mask: 0, value: 0 };
const TESTS_MAX = 2;
/** A quick test reads a whole word, which has to be in the frame's chunk. */
const OFFSET_MAX = 124;
const TRANSPORT_AT = 34;

/** 'other': neither IPv4 nor IPv6. */
type Family = 4 | 6 | 'other';
const IP_TYPES: readonly number[] = [TYPE_IPV4, TYPE_IPV6];

/** See TRACE_CONTROL. */
export interface QuickTests {
  readonly tests: readonly Quick[];
  readonly isAddressed: boolean;
}

export function quickTests(tree: Tree | null): QuickTests {
  const needs = ([4, 6, 'other'] as const).map((family) =>
    tree === null ? null : need(tree, true, family),
  );
  const [of4 = null, of6, other] = needs;
  // Where options may stand, ports have no place of their own.
  const isBeforeOptions = of4?.every(({ offset }) => offset < TRANSPORT_AT) ?? false;
  const isIpv4 = of6?.length === 0 && other?.length === 0;
  const tests = needs.slice(0, 2).flatMap((needed) => {
    const [first = NEVER, second = NEVER] = needed?.map(quickOf) ?? [ALWAYS, ALWAYS];
    return [first, second];
  });
  return { tests, isAddressed: isIpv4 && isBeforeOptions };
}

/**
 * Tests one of which holds whenever `tree` is `wanted`; none: it never is; null: that cannot be
 * said in a few.
 */
function need(tree: Tree, wanted: boolean, family: Family): readonly Test[] | null {
  switch (tree.kind) {
    case 'test':
      return needOfTest(tree, wanted, family);
    case 'not':
      return need(tree.of, !wanted, family);
    default: {
      const left = need(tree.left, wanted, family);
      const right = need(tree.right, wanted, family);
      // Both have to hold: the narrower of the two will do. One of them: either may.
      if ((tree.kind === 'and') === wanted) return narrower(left, right);
      if (left === null || right === null) return null;
      return left.length + right.length > TESTS_MAX ? null : [...left, ...right];
    }
  }
}

function needOfTest(tree: Test, wanted: boolean, family: Family): readonly Test[] | null {
  if (isType(tree)) {
    // Of another frame's type is known only what it is not.
    if (family === 'other') return wanted && IP_TYPES.includes(tree.value) ? [] : null;
    const type = family === 4 ? TYPE_IPV4 : TYPE_IPV6;
    return (tree.value === type) === wanted ? null : [];
  }
  if (!wanted || tree.comparison !== '=' || tree.base === 'length') return null;
  if (tree.base === 'transport4') {
    if (family !== 4) return null;
    return inReach({ ...tree, base: 'frame', offset: TRANSPORT_AT + tree.offset });
  }
  return inReach(tree);
}

function inReach(tree: Test): readonly Test[] | null {
  return tree.offset <= OFFSET_MAX ? [tree] : null;
}

/** Ethernet's type: known, where a quick test is asked for. */
function isType({ base, offset, bytes, mask, comparison }: Test): boolean {
  return base === 'frame' && offset === 12 && bytes === 2 && mask === 0xffff && comparison === '=';
}

function narrower(
  left: readonly Test[] | null,
  right: readonly Test[] | null,
): readonly Test[] | null {
  if (left === null || right === null) return left ?? right;
  return share(left) <= share(right) ? left : right;
}

/** Of all packets, were their bits random: those that pass one of the tests. 0 is common. */
function share(tests: readonly Test[]): number {
  return tests.reduce((sum, { mask, value }) => sum + (value === 0 ? 1 : 2 ** -bitsOf(mask)), 0);
}

function bitsOf(mask: number): number {
  let bits = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) bits++;
  return bits;
}

function quickOf({ offset, bytes, mask, value }: Test): Quick {
  const shift = 32 - bytes * 8;
  // A value outside the mask is never met: the frame fails here as it would fail there.
  return { offset, mask: mask << shift, value: value << shift };
}
