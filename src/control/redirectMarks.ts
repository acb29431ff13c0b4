/**
 * The mark rules as the XDP program gets them: those in force, and removed ones through which
 * connections may have come about that live on. A removed rule gives no mark any more; what it
 * matches is redirected still, and a worker finds the packet's connection or gives it to the host.
 *
 * Which rules may have had a part in a mark that is not given any more? When rules are only taken
 * away, those; when others are added or the order is another, any of the old ones.
 */
import { MARK_RULES_MAX, removedMarkRule, removedMarkRuleOfAll } from '../table/mark';

/** Removed rules that the program has room for, besides those in force. */
const REMOVED_MAX = MARK_RULES_MAX;

function textOf(rule: Int32Array): string {
  return rule.join();
}

/** Is `rules` a part of `whole`, in its order? */
function isPartOf(rules: readonly Int32Array[], whole: readonly Int32Array[]): boolean {
  let at = 0;
  for (const rule of whole) {
    if (at < rules.length && textOf(rule) === textOf(rules[at]!)) at++;
  }
  return at === rules.length;
}

/** `rules` without those of `others`, each as often as it stands there. */
function difference(
  rules: readonly Int32Array[],
  others: readonly Int32Array[],
): readonly Int32Array[] {
  const counts = new Map<string, number>();
  for (const text of others.map(textOf)) counts.set(text, (counts.get(text) ?? 0) + 1);
  return rules.filter((rule) => {
    const text = textOf(rule);
    const count = counts.get(text) ?? 0;
    counts.set(text, count - 1);
    return count <= 0;
  });
}

export class RedirectMarks {
  #inForce: readonly Int32Array[] = [];
  /** By their text, the oldest first. */
  #removed = new Map<string, Int32Array>();

  /** Rules in force, then removed ones. */
  get rules(): readonly Int32Array[] {
    return [...this.#inForce, ...this.#removed.values()];
  }

  get hasRemoved(): boolean {
    return this.#removed.size > 0;
  }

  /** `rules` come into force. `isServed`: there are services by mark, maybe with connections. */
  replace(rules: readonly Int32Array[], isServed: boolean): void {
    const before = this.#inForce;
    this.#inForce = rules;
    if (isServed) this.#keep(before, rules);
  }

  #keep(before: readonly Int32Array[], after: readonly Int32Array[]): void {
    for (const rule of isPartOf(after, before) ? difference(before, after) : before) {
      const removed = removedMarkRule(rule);
      this.#removed.set(textOf(removed), removed);
    }
    if (this.#removed.size <= REMOVED_MAX) return;
    // Too many to tell apart: everything goes to the workers for that while.
    const all = ([4, 6] as const).map(removedMarkRuleOfAll);
    this.#removed = new Map(all.map((rule) => [textOf(rule), rule]));
  }

  /** No connection is left that removed rules brought about. */
  forgetRemoved(): void {
    this.#removed.clear();
  }
}
