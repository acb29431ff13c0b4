/**
 * The worker of the control bench: the real pipeline in a thread of its own, pinned, on frames in
 * memory, without a pause. What it has done stands in `done`, for others to read at any time.
 */
import { readlinkSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { addon } from '#xvs/port/addon';
import { tuneEngine } from '#xvs/worker/engine';
import { warmUp } from '#xvs/worker/warmUp';
import { makeRow } from '../pipeline/row';
import { BATCH_FRAMES } from '../pipeline/settings';
import { Workload } from '../pipeline/workload';
import { World } from '../pipeline/world';
import { FRAMES_DONE, STOP, type TrafficData, type TrafficReady } from './traffic';

const BATCHES = 16;

function main(): void {
  const { flows, cpu, done } = workerData as TrafficData;
  addon.pinThread(cpu);
  tuneEngine();
  warmUp(addon.createPrefetcher);
  const world = new World(makeRow('nat', 4, 'udp', flows), addon.createPrefetcher);
  const workload = new Workload(world);
  const words = new Float64Array(done);
  workload.run(BATCH_FRAMES * BATCHES);
  const [, , thread = ''] = readlinkSync('/proc/thread-self').split('/');
  parentPort!.postMessage({ memory: world.memory, thread } satisfies TrafficReady);
  while (words[STOP] === 0) {
    workload.run(BATCH_FRAMES * BATCHES);
    words[FRAMES_DONE]! += BATCH_FRAMES * BATCHES;
  }
  if (world.host.delivered !== 0) throw new Error(`${world.host.delivered} frames not forwarded`);
}

main();
