/** Which contenders a run has, in which order, and which of them cannot take part. */
import type { Contender } from './contender';
import { xvs } from './director';
import { cDirector, cForwarder, dpdkTestpmd, nftables, xdpRedirect } from './peers';
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
    if (has('c-director')) all.push({ contender: cDirector(mode), loads });
    if (has('xdp-redirect')) all.push({ contender: xdpRedirect, loads });
    if (has('dpdk-testpmd')) all.push({ contender: dpdkTestpmd, loads });
    return all;
  });
}
