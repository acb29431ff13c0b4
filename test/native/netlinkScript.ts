/** Run in a namespace: dumps its links, then waits for two new ones. Prints names, and errors. */
import { addon, type Netlink } from '#xvs/port/addon';
import { thrownBy } from './support';

const ROUTE = 0;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const DONE = 3;
const REQUEST_DUMP = 0x301;
const IFLA_IFNAME = 3;
const GROUP_LINK = 1;

const buffer = new Uint8Array(65536);

/** Calls back with type, start and end of each message received. */
function eachMessage(length: number, found: (type: number, from: number, to: number) => void) {
  const view = new DataView(buffer.buffer);
  for (let at = 0; at < length; ) {
    const bytes = view.getUint32(at, true);
    found(view.getUint16(at + 4, true), at, at + bytes);
    at += (bytes + 3) & ~3;
  }
}

function linkName(from: number, to: number): string {
  const view = new DataView(buffer.buffer);
  for (let at = from + 32; at < to; ) {
    const bytes = view.getUint16(at, true);
    if (view.getUint16(at + 2, true) === IFLA_IFNAME) {
      return Buffer.from(buffer.subarray(at + 4, at + bytes - 1)).toString();
    }
    at += (bytes + 3) & ~3;
  }
  return '';
}

function dumpRequest(): Uint8Array {
  const message = new Uint8Array(32);
  const view = new DataView(message.buffer);
  view.setUint32(0, 32, true);
  view.setUint16(4, RTM_GETLINK, true);
  view.setUint16(6, REQUEST_DUMP, true);
  return message;
}

function dump(netlink: Netlink): string[] {
  const names: string[] = [];
  const poller = addon.createPoller([netlink.fd]);
  netlink.send(dumpRequest());
  for (let done = false; !done; ) {
    if (poller.poll(2000) === 0) throw new Error('no answer in 2 s');
    eachMessage(netlink.receive(buffer), (type, from, to) => {
      if (type === DONE) done = true;
      if (type === RTM_NEWLINK) names.push(linkName(from, to));
    });
  }
  poller.close();
  return names;
}

function errors(netlink: Netlink): void {
  netlink.send(dumpRequest());
  const poller = addon.createPoller([netlink.fd]);
  poller.poll(2000);
  const short = thrownBy(() => netlink.receive(new Uint8Array(16))).message;
  poller.close();
  const group = thrownBy(() => addon.openNetlink(ROUTE, [100_000])).code;
  process.stdout.write(`${short}\n${group}\n`);
  netlink.close();
}

function main(): void {
  const netlink = addon.openNetlink(ROUTE, []);
  const events = addon.openNetlink(ROUTE, [GROUP_LINK]);
  if (netlink.receive(buffer) !== 0) throw new Error('received before anything was asked');
  const names = dump(netlink);
  const created = new Set<string>();
  const watcher = addon.watch(events.fd, () => {
    for (let length = events.receive(buffer); length > 0; length = events.receive(buffer)) {
      eachMessage(length, (type, from, to) => {
        if (type === RTM_NEWLINK) created.add(linkName(from, to));
      });
    }
    if (created.size < 2) return;
    watcher.close();
    events.close();
    process.stdout.write(`${JSON.stringify([...created])}\n`);
    errors(netlink);
  });
  process.stdout.write(`${JSON.stringify(names)}\n`);
}

main();
