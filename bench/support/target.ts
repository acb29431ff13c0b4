/** A target of the project beside what was measured: a line that a reader can check. */

export interface Target {
  readonly what: string;
  /** As the figure is written: '2.0 x', '2,000,000 a second'. */
  readonly wanted: string;
  readonly measured: string;
  readonly isMet: boolean;
}

export function formatTarget({ what, wanted, measured, isMet }: Target): string {
  return `target: ${what}: ${wanted}; measured ${measured}: ${isMet ? 'met' : 'missed'}`;
}
