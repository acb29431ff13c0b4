/** Which contenders a run has, in which order, and which of them cannot take part. */
import { execFileSync } from 'node:child_process';
import type { Contender } from './contender';
import { xvs } from './director';
import { cForwarder, dpdkTestpmd, nftables, xdpRedirect } from './peers';
import type { Load, Settings } from './settings';

/** One start of a contender in a round, and what is then measured. */
export interface Entry {
  readonly contender: Contender;
  readonly loads: readonly Load[];
}

/**
 * In the order in which a round measures them: the kernel's NAT beside xvs's, and first, since its
 * rate without loss says what half load is. At half load xvs also runs in interrupt mode.
 */
export function entriesOf(settings: Settings): Entry[] {
  const { contenders, methods, families, mode, loads } = settings;
  const has = (name: string) => contenders.includes(name);
  const withInterrupt = loads.includes('half') && mode !== 'interrupt';
  return families.flatMap((family) => {
    const all: Entry[] = [];
    if (has('nftables')) all.push({ contender: nftables(family), loads });
    if (has('xvs')) {
      all.push(...methods.map((method) => ({ contender: xvs(method, family, mode), loads })));
      if (withInterrupt && methods.includes('nat')) {
        all.push({ contender: xvs('nat', family, 'interrupt'), loads: ['half'] });
      }
    }
    if (family === 6) return all;
    if (has('c-forwarder')) all.push({ contender: cForwarder(mode), loads });
    if (has('xdp-redirect')) all.push({ contender: xdpRedirect, loads });
    if (has('dpdk-testpmd')) all.push({ contender: dpdkTestpmd, loads });
    return all;
  });
}

export interface Selection {
  readonly able: readonly Entry[];
  /** Could not be measured although nothing says that it may be missing. */
  readonly missing: readonly string[];
  /** Left out since it is a package that nobody has to have. */
  readonly leftOut: readonly string[];
}

/** Installs what can be installed, when that is wanted, and leaves out what is still missing. */
export function select(entries: readonly Entry[], installs: boolean): Selection {
  const missing = new Set<string>();
  const leftOut = new Set<string>();
  const able = entries.filter(({ contender }) => {
    const { name, packages } = contender;
    if (contender.missing() !== null && installs && packages.length > 0) {
      const words = ['install', '-y', '--no-install-recommends', ...packages];
      execFileSync('apt-get', words, { stdio: ['ignore', 'inherit', 'inherit'] });
    }
    const reason = contender.missing();
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
