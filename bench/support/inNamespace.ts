/**
 * A bench in a network namespace of its own, with a veth pair that the XDP program is attached to:
 * a process of its own, since a namespace is a thread's. Both go when the bench ends, however it
 * ends.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { onEnd } from '#xvs/lab/cleanUp';
import { Namespace } from '#xvs/lab/namespace';
import type { Report } from './report';

export const NEAR = 'xvs0';
const FAR = 'xvs1';

/** A namespace with a veth pair that is up. Throws where that is not allowed. */
export function makeNamespace(bench: string): Namespace {
  const namespace = Namespace.create(`xvs-${process.pid}-${bench}`);
  const callOff = onEnd(() => namespace.delete());
  try {
    namespace.ip('link', 'add', NEAR, 'type', 'veth', 'peer', 'name', FAR);
    for (const name of [NEAR, FAR]) namespace.ip('link', 'set', name, 'up');
  } catch (error) {
    callOff();
    namespace.delete();
    throw error;
  }
  return namespace;
}

/** Runs a script there that prints a report as JSON; its progress goes to stderr. */
export async function runInNamespace(
  namespace: Namespace,
  script: string,
  argv: readonly string[],
): Promise<Report> {
  const command = [process.execPath, script, ...argv];
  const [file = '', ...words] = namespace.inside(['setpriv', '--pdeathsig', 'TERM', ...command]);
  const child = spawn(file, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const callOff = onEnd(() => child.kill('SIGTERM'));
  try {
    let text = '';
    child.stdout.on('data', (data: Buffer) => {
      text += data.toString();
    });
    const [status] = await once(child, 'close');
    if (status !== 0) throw new Error(`the bench in ${namespace.name} ended with ${status}`);
    return JSON.parse(text) as Report;
  } finally {
    callOff();
    namespace.delete();
  }
}
