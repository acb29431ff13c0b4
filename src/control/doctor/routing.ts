/** What of the kernel's routing xvs does not follow. */
import type { Facts } from './facts';
import { type Finding, ok, warning } from './finding';

export function checkRouting({ host }: Facts): Finding[] {
  const vrfs = host.links
    .filter(({ kind }) => kind === 'vrf')
    .map(({ name }) => `interface ${name} is a VRF: its routes are not mirrored`);
  const found = [...host.unmirrored, ...vrfs];
  if (found.length === 0) return [ok('routing', 'routes', 'are mirrored, all of them')];
  return found.map((text) =>
    warning(
      'routing-unmirrored',
      'routes',
      text,
      'Workers find next hops in a mirror of the tables local, main and default. Where the ' +
        'kernel would choose another way, balanced packets do not take it.',
      [
        'ip rule show',
        'ip route get ADDRESS   # of each real server and client: the same by both?',
        'put routes to real servers and clients into the table main',
      ],
    ),
  );
}
