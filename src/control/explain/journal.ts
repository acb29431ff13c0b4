/** What a rehearsal asked and decided, in order. */

export type StepName =
  | 'connection'
  | 'fragment'
  | 'mark'
  | 'service'
  | 'scheduler'
  | 'template'
  | 'local address'
  | 'local port'
  | 'next hop'
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
