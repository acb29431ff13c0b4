/** Opens one of everything, closes nothing, and ends as it is told. */
import { parentPort, workerData } from 'node:worker_threads';
import { addon, type XskSocket } from '#xvs/port/addon';
import { makeMemory, openQueue } from './support';

const memory = makeMemory(128);
const event = addon.createEvent();
const netlink = addon.openNetlink(0, [1]);
const fds = [event.fd];
let socket: XskSocket | undefined;
if (workerData.interfaceName !== '') {
  socket = openQueue(memory, workerData.interfaceName, 0, 64).socket;
  fds.push(socket.fd);
}
if (workerData.heavy) addon.loadProgram();
const poller = addon.createPoller(fds, memory.umem);
if (workerData.ending !== 'return') addon.watch(netlink.fd, () => undefined);

parentPort!.postMessage({ eventFd: event.fd, open: addon.openHandles() });
if (workerData.ending === 'poll') poller.poll(-1);
while (workerData.ending === 'spin') {
  socket?.rxBurst(64);
  poller.poll(0);
}
