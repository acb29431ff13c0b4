/** A visit of the doctor: facts are gathered, judged, and told. */
import { readlinkSync } from 'node:fs';
import type { Config } from '../config';
import { diagnose } from './diagnose';
import type { Facts } from './facts';
import { error, type Finding } from './finding';
import { type Ask, lookAgain, lookFirst } from './gather/daemon';
import { readHost } from './gather/host';
import { setupOfConfig } from './gather/setup';

/** A running daemon and its host; counters are compared over `seconds`. */
export async function examineDaemon(ask: Ask, seconds: number): Promise<Finding[]> {
  const began = performance.now();
  const first = await lookFirst(ask);
  const { pid, tap } = first.state;
  if (namespaceOf(pid) !== namespaceOf('self')) return [elsewhere(pid)];
  const host = await readHost(first.setup, pid, tap);
  const left = seconds * 1000 - (performance.now() - began);
  if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
  const daemon = await lookAgain(ask, first);
  return diagnose({ setup: first.setup, host, daemon } satisfies Facts);
}

/** Which network namespace a process is in; '' when it is not known. */
function namespaceOf(pid: number | 'self'): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return '';
  }
}

function elsewhere(pid: number): Finding {
  return error(
    'namespace',
    'xvsd',
    `process ${pid} runs in another network namespace than this command`,
    'Interfaces, routes and addresses seen from here are not those that it works with.',
    [`nsenter -t ${pid} -n xvs doctor`],
  );
}

/** The host alone, for what a config file says; no daemon is asked. */
export async function examineConfig(config: Config): Promise<Finding[]> {
  const setup = setupOfConfig(config);
  return diagnose({ setup, host: await readHost(setup, 'self', ''), daemon: null });
}
