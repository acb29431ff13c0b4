/** What an import of mark rules from the kernel's own brings: rules, and what was left and why. */

export interface ImportedRule {
  readonly family: 4 | 6;
  /** Matches and target in iptables syntax. */
  readonly rule: string;
}
export interface LeftRule {
  /** As its owner prints it. */
  readonly text: string;
  readonly reason: string;
}
export interface Imported {
  readonly rules: readonly ImportedRule[];
  readonly left: readonly LeftRule[];
}
