/**
 * What a test needs of the machine. A test that cannot run here says why, as node:test's `skip`
 * wants it; the runner lets only "kernel lacks ..." pass where CI=true.
 */
import { probe } from 'xsk-napi';

/** For tests with namespaces and AF_XDP sockets: false, or why they cannot run. */
export function whyNoNetwork(): string | false {
  const user = process.getuid?.();
  if (user !== 0) return `user id is ${user}, namespaces need 0 (root)`;
  const features = probe();
  if (!features.afXdp) return `kernel lacks AF_XDP (since 4.18): this is ${features.kernel}`;
  return false;
}
