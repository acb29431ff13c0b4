/**
 * Peers that are other people's programs: are they installed, and if not, may apt-get do it? What a
 * package would start on its own (a proxy listening on this machine) is not started.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Debian asks this script before it starts a service. */
const POLICY = '/usr/sbin/policy-rc.d';
const FORBIDDEN = '#!/bin/sh\nexit 101\n';

export interface Candidate {
  readonly name: string;
  /** Debian packages that bring it, where the set-up does not. */
  readonly packages: readonly string[];
  /** Why it cannot take part, or null. */
  missing(): string | null;
}

export interface Selection<T extends Candidate> {
  readonly able: readonly T[];
  /** Could not be measured although nothing says that it may be missing. */
  readonly missing: readonly string[];
  /** Left out since it is a package that nobody has to have. */
  readonly leftOut: readonly string[];
}

export function isInstalled(command: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.some((folder) => existsSync(join(folder, command)));
}

function install(packages: readonly string[]): void {
  const isOurs = !existsSync(POLICY);
  if (isOurs) writeFileSync(POLICY, FORBIDDEN, { mode: 0o755 });
  try {
    const words = ['install', '-y', '--no-install-recommends', ...packages];
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    execFileSync('apt-get', words, { stdio: ['ignore', 'ignore', 'inherit'], env });
  } finally {
    if (isOurs) rmSync(POLICY, { force: true });
  }
}

/** Installs what can be installed, when that is wanted, and leaves out what is still missing. */
export function select<T extends Candidate>(
  candidates: readonly T[],
  installs: boolean,
): Selection<T> {
  const missing = new Set<string>();
  const leftOut = new Set<string>();
  const able = candidates.filter((candidate) => {
    const { name, packages } = candidate;
    if (candidate.missing() !== null && installs && packages.length > 0) install(packages);
    const reason = candidate.missing();
    if (reason === null) return true;
    if (packages.length > 0) {
      leftOut.add(`${name} left out: ${reason} (--install has apt-get install ${packages[0]})`);
    } else {
      missing.add(`${name} left out: ${reason}`);
    }
    return false;
  });
  return { able, missing: [...missing], leftOut: [...leftOut] };
}
