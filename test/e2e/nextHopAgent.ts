/**
 * Runs a NextHopMirror inside a namespace for nextHop.test.ts: one JSON question a line on stdin,
 * one JSON answer a line on stdout. The arguments are the names of the interfaces it serves.
 */
import { createInterface } from 'node:readline';
import { openHandles } from 'xsk-napi';
import { ipv4Text } from '#xvs/control/kernelRoutes';
import { monotonicTick } from '#xvs/control/neighbourMirror';
import { NextHopMirror } from '#xvs/control/nextHop';
import { measureCapacity } from '#xvs/control/nextHopCapacity';
import { addon } from '#xvs/port/addon';
import { NextHopTable } from '#xvs/table/nextHop';

export interface Question {
  readonly ask: 'resolve' | 'touch' | 'current' | 'state' | 'stop';
  /** An IPv4 address (resolve, touch) or a hop (current). */
  readonly value?: number;
}
export interface Answer {
  readonly hop: number;
  readonly mac: string;
  readonly slot: number;
  readonly current: boolean;
  readonly localAddresses: readonly string[];
  readonly linkUp: readonly number[];
  readonly mtu: readonly number[];
  readonly logged: readonly string[];
  readonly resolvedCalls: number;
  readonly overruns: number;
  readonly routes: number;
  readonly handles: Readonly<Record<string, number>>;
}

function macText(high: number, low: number): string {
  const bytes = Buffer.alloc(6);
  bytes.writeInt32BE(high);
  bytes.writeUInt16BE(low, 4);
  return bytes.toString('hex');
}

async function main(): Promise<void> {
  const interfaces = process.argv.slice(2);
  const buffers = NextHopTable.buffers(await measureCapacity(addon));
  const table = new NextHopTable(buffers);
  const logged: string[] = [];
  let localAddresses: readonly string[] = [];
  let resolvedCalls = 0;
  const mirror = new NextHopMirror({
    addon,
    table,
    interfaces,
    log: (level, message) => logged.push(`${level} ${message}`),
    onLocalAddresses: (addresses) => {
      localAddresses = addresses.map(ipv4Text);
    },
    onResolved: () => {
      resolvedCalls++;
    },
  });
  const bell = addon.createEvent();
  const watcher = addon.watch(bell.fd, () => {
    bell.drain();
    mirror.takeRequests();
  });
  const worker = new NextHopTable(buffers, () => addon.signalEvent(bell.fd));
  await mirror.start();

  const answer = (hop: number): Answer => {
    const slot = hop > 0 ? worker.slotOf(hop) : 0;
    return {
      hop,
      slot,
      mac: slot === 0 ? '' : macText(worker.macHigh(slot), worker.macLow(slot)),
      current: hop > 0 && worker.isCurrent(hop),
      localAddresses,
      linkUp: interfaces.map((_, index) => worker.links.up(index)),
      mtu: interfaces.map((_, index) => worker.links.mtu(index)),
      logged,
      resolvedCalls,
      overruns: mirror.statistics.overruns,
      routes: mirror.statistics.routes,
      handles: openHandles(),
    };
  };
  const input = createInterface({ input: process.stdin });
  const say = (said: Answer): boolean => process.stdout.write(`${JSON.stringify(said)}\n`);
  say(answer(0));
  for await (const line of input) {
    const { ask, value = 0 } = JSON.parse(line) as Question;
    if (ask === 'stop') {
      break;
    }
    const hop = ask === 'current' ? value : ask === 'state' ? 0 : worker.resolve(value);
    if (ask === 'touch' && hop > 0) {
      worker.touch(worker.slotOf(hop), monotonicTick());
    }
    say(answer(hop));
  }
  input.close();
  await mirror.stop();
  watcher.close();
  bell.close();
  say(answer(0));
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
  process.exitCode = 1;
});
