/**
 * The bench `program`: what the XDP program takes for a frame, by what the frame is. The kernel
 * runs it on one frame many times (BPF_PROG_TEST_RUN), all in the CPU's caches; the program and its
 * maps are the daemon's. Beside it, with the same maps, the program that is not told of the buckets
 * of endpoints.
 */
import { join } from 'node:path';
import { makeNamespace, runInNamespace } from '../support/inNamespace';
import { describeOptions, Options } from '../support/options';
import type { Report } from '../support/report';
import { OPTIONS } from './settings';

export const summary = 'ns per frame of the XDP program, by what the frame is (root)';
export const help = () => describeOptions(OPTIONS);

export async function run(argv: readonly string[]): Promise<Report> {
  // Before there is anything to take away.
  new Options(OPTIONS, argv);
  const namespace = makeNamespace('program');
  return runInNamespace(namespace, join(__dirname, 'namespaced.js'), argv);
}
