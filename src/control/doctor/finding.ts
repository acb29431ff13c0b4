/** What `xvs doctor` says: one finding a cause, with what was seen and what to do about it. */

export type Severity = 'error' | 'warning' | 'ok';

export interface Finding {
  /** Name of the check, the same on every host: "vip-missing". */
  readonly check: string;
  readonly severity: Severity;
  /** What it is about: an interface, a service, a real server, a counter. */
  readonly subject: string;
  readonly seen: string;
  /** What comes of it; '' for what is fine. */
  readonly why: string;
  /** Commands, or what to look at, one a line; empty for what is fine. */
  readonly remedy: readonly string[];
}

/** Exit statuses of `xvs doctor`; 1 and 2 mean what they mean for every verb. */
export const EXIT_WELL = 0;
export const EXIT_WARNINGS = 3;
export const EXIT_ERRORS = 4;

export function error(
  check: string,
  subject: string,
  seen: string,
  why: string,
  remedy: readonly string[],
): Finding {
  return { check, severity: 'error', subject, seen, why, remedy };
}

export function warning(
  check: string,
  subject: string,
  seen: string,
  why: string,
  remedy: readonly string[],
): Finding {
  return { check, severity: 'warning', subject, seen, why, remedy };
}

export function ok(check: string, subject: string, seen: string): Finding {
  return { check, severity: 'ok', subject, seen, why: '', remedy: [] };
}

/** Errors first, then warnings; within one severity the order of the checks. */
export function bySeverity(findings: readonly Finding[]): Finding[] {
  const of = (severity: Severity) => findings.filter((one) => one.severity === severity);
  return [...of('error'), ...of('warning'), ...of('ok')];
}

export function exitStatus(findings: readonly Finding[]): number {
  if (findings.some(({ severity }) => severity === 'error')) return EXIT_ERRORS;
  return findings.some(({ severity }) => severity === 'warning') ? EXIT_WARNINGS : EXIT_WELL;
}
