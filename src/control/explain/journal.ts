/** What a rehearsal asked and decided, in order. */

export type StepName =
  | 'parse'
  | 'connection'
  | 'fragment'
  | 'mark'
  | 'service'
  | 'defense'
  | 'scheduler'
  | 'template'
  | 'local address'
  | 'local port'
  | 'state'
  | 'next hop'
  | 'ttl'
  | 'length';

export interface Step {
  readonly step: StepName;
  readonly text: string;
}

export class Journal {
  readonly steps: Step[] = [];
  #isSilent = false;

  /** What is said twice in a row is one step. */
  say(step: StepName, text: string): void {
    if (this.#isSilent) return;
    const last = this.steps[this.steps.length - 1];
    if (last?.step === step && last.text === text) return;
    this.steps.push({ step, text });
  }

  /** What is asked again later on is no other decision. */
  sayOnce(step: StepName, text: string): void {
    if (!this.steps.some((each) => each.step === step && each.text === text)) this.say(step, text);
  }

  /** Puts a step behind the first ones of these names, where they are. */
  insertAfter(before: readonly StepName[], step: StepName, text: string): void {
    const places = before.map((name) => this.steps.findIndex((each) => each.step === name));
    this.steps.splice(Math.max(...places) + 1, 0, { step, text });
  }

  /** Does `action`, whose questions are no decisions about the packet. */
  silently<Result>(action: () => Result): Result {
    const before = this.#isSilent;
    this.#isSilent = true;
    try {
      return action();
    } finally {
      this.#isSilent = before;
    }
  }
}
