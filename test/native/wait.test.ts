/** Events, poll sets and watchers: who wakes whom. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { addon } from '#xvs/port/addon';
import { Lab, makeMemory, openQueue, takeChunk, thrownBy } from './support';

describe('a poll set', { timeout: 30_000 }, () => {
  it('wakes by an event, until the event is drained', () => {
    const event = addon.createEvent();
    const poller = addon.createPoller([event.fd]);
    assert.equal(poller.poll(0), 0);
    event.signal();
    event.signal();
    assert.equal(poller.poll(-1), 1);
    assert.equal(poller.poll(-1), 1);
    event.drain();
    event.drain();
    assert.equal(poller.poll(0), 0);
    poller.close();
    assert.equal(thrownBy(() => poller.poll(0)).code, 'EBADF');
    event.close();
    assert.equal(thrownBy(() => event.signal()).code, 'EBADF');
  });

  it('makes the event it was made with silent', () => {
    const event = addon.createEvent();
    const poller = addon.createPoller([], undefined, event);
    assert.equal(poller.poll(0), 0);
    event.signal();
    event.signal();
    assert.equal(poller.poll(-1), 1);
    assert.equal(poller.poll(0), 0);
    event.signal();
    assert.equal(poller.poll(-1), 1);
    assert.match(
      thrownBy(() => addon.createPoller([], undefined, poller as never)).message,
      /event: must be an open Event/,
    );
    poller.close();
    event.close();
    assert.match(
      thrownBy(() => addon.createPoller([], undefined, event)).message,
      /event: must be an open Event/,
    );
  });

  it('waits as long as it is told, and writes the clock', () => {
    const memory = makeMemory(16);
    const event = addon.createEvent();
    const poller = addon.createPoller([event.fd], memory.umem);
    const before = process.hrtime.bigint();
    memory.clock[1] = 0;
    assert.equal(poller.poll(30), 0);
    const waitedMs = Number(process.hrtime.bigint() - before) / 1e6;
    assert.ok(waitedMs >= 29 && waitedMs < 5000, `${waitedMs} ms`);
    assert.notEqual(memory.clock[1], 0);
    poller.close();
    event.close();
    memory.umem.close();
  });

  it('of another thread wakes by signalEvent', async () => {
    const event = addon.createEvent();
    const worker = new Worker(`${__dirname}/pollWorker.js`, { workerData: { fd: event.fd } });
    await once(worker, 'message');
    const woken = once(worker, 'message');
    await new Promise((resolve) => setTimeout(resolve, 30));
    addon.signalEvent(event.fd);
    const [message] = await woken;
    assert.equal(message.ready, 1);
    assert.ok(message.waitedMs >= 10, `${message.waitedMs} ms`);
    await worker.terminate();
    event.close();
    assert.equal(thrownBy(() => addon.signalEvent(0x7fff)).code, 'EBADF');
  });
});

describe('a socket in a poll set', { timeout: 30_000 }, () => {
  const lab = new Lab();
  before(() => lab.pair('xvsnp0', 'xvsnp1'));
  after(() => lab.remove());

  it('is ready when a frame has come', () => {
    const program = addon.loadProgram();
    const memory = makeMemory(256);
    const near = openQueue(memory, 'xvsnp0');
    const far = openQueue(memory, 'xvsnp1');
    const poller = addon.createPoller([near.socket.fd], memory.umem);
    program.attach('xvsnp0', 'native');
    program.setSocket('xvsnp0', 0, near.socket.fd);
    program.mapUpdate('settings', new Uint8Array(4), Uint8Array.of(8 | 32, 0, 0, 0));
    assert.equal(poller.poll(0), 0);
    const offset = takeChunk(memory);
    // An IPv4 fragment: what bits 3 and 5 of the settings redirect.
    memory.bytes.fill(0, offset, offset + 60);
    memory.bytes.set([8, 0, 0x45, 0, 0, 46, 0, 0, 0x20, 0], offset + 12);
    far.tx.set([offset, 60, 0]);
    assert.equal(far.socket.txBurst(1), 1);
    assert.equal(poller.poll(2000), 1);
    assert.equal(near.socket.rxBurst(64), 1);
    assert.equal(near.rx[1], 60);
    assert.equal(poller.poll(0), 0);
    poller.close();
    memory.umem.close();
    program.close();
    assert.equal(addon.openHandles()['sockets'], 0);
  });
});

describe('a watcher', { timeout: 30_000 }, () => {
  it('calls back while its file is readable, until it is closed', async () => {
    const event = addon.createEvent();
    let calls = 0;
    const watcher = addon.watch(event.fd, () => {
      calls++;
      event.drain();
    });
    event.signal();
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(calls, 1);
    event.signal();
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(calls, 2);
    watcher.close();
    watcher.close();
    event.signal();
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(calls, 2);
    event.close();
  });

  it('refuses what cannot be polled', () => {
    assert.equal(thrownBy(() => addon.watch(0x7fff, () => undefined)).syscall, 'uv_poll_init');
    assert.match(
      thrownBy(() => addon.watch(0, 1 as never)).message,
      /callback: must be a function/,
    );
  });
});
