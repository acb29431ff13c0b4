/** Waits for ever on an event of another thread, and tells what woke it. */
import { parentPort, workerData } from 'node:worker_threads';
import { addon } from '#xvs/port/addon';

const poller = addon.createPoller([workerData.fd]);
parentPort!.postMessage('polling');
const before = process.hrtime.bigint();
const ready = poller.poll(-1);
parentPort!.postMessage({ ready, waitedMs: Number(process.hrtime.bigint() - before) / 1e6 });
