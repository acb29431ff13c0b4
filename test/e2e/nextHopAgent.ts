/**
 * Runs a NextHopMirror inside a namespace for nextHop.test.ts: one JSON question a line on stdin,
 * one JSON answer a line on stdout. The arguments are the names of the interfaces it serves.
 */
import { createInterface } from 'node:readline';
import { openHandles } from 'xsk-napi';
import { monotonicTick } from '#xvs/control/neighbourMirror';
import { addressText } from '#xvs/control/netlink';
import { NextHopMirror } from '#xvs/control/nextHop';
import { measureCapacity } from '#xvs/control/nextHopCapacity';
import { addressWords } from '#xvs/net/address';
import { addon } from '#xvs/port/addon';
import { NextHopTable } from '#xvs/table/nextHop';

export interface Question {
  readonly ask: 'resolve' | 'touch' | 'current' | 'state' | 'stop';
  /** Whose hop is asked for or touched, of either family. */
  readonly address?: string;
  /** For `current`. */
  readonly hop?: number;
}
export interface Answer {
  readonly hop: number;
  readonly mac: string;
  readonly slot: number;
  readonly current: boolean;
  /** What the host would use towards the address asked for; '' = none. */
  readonly source: string;
  readonly pathMtu: number;
  readonly localAddresses: readonly string[];
  readonly localAddresses6: readonly string[];
  readonly linkUp: readonly number[];
  readonly mtu: readonly number[];
  readonly logged: readonly string[];
  readonly resolvedCalls: number;
  readonly overruns: number;
  readonly routes: number;
  readonly routes6: number;
  readonly handles: Readonly<Record<string, number>>;
}

function macText(high: number, low: number): string {
  const bytes = Buffer.alloc(6);
  bytes.writeInt32BE(high);
  bytes.writeUInt16BE(low, 4);
  return bytes.toString('hex');
}

/** What a worker asks of the table for a destination. */
class Lookup {
  readonly hop: number;
  readonly source: string;
  readonly pathMtu: number;

  constructor(table: NextHopTable, address: string) {
    const words = addressWords(address);
    const [word0, word1, word2, word3] = [words[0]!, words[1]!, words[2]!, words[3]!] as const;
    if (address.includes(':')) {
      this.hop = table.resolve6(word0, word1, word2, word3);
      const found = table.source6(word0, word1, word2, word3);
      const [a, b, c, d] = table.sourceWords;
      this.source = found ? addressText([a!, b!, c!, d!]) : '';
      this.pathMtu = table.pathMtu6(word0, word1, word2, word3);
    } else {
      this.hop = table.resolve(word0);
      const source = table.source4(word0);
      this.source = source === 0 ? '' : addressText(source);
      this.pathMtu = table.pathMtu4(word0);
    }
  }
}

function hopState(
  table: NextHopTable,
  hop: number,
): Pick<Answer, 'hop' | 'slot' | 'mac' | 'current'> {
  const slot = hop > 0 ? table.slotOf(hop) : 0;
  const mac =
    slot === 0 ? '' : macText(table.neighbours.macHigh(slot), table.neighbours.macLow(slot));
  return { hop, slot, mac, current: hop > 0 && table.isCurrent(hop) };
}

async function main(): Promise<void> {
  const interfaces = process.argv.slice(2);
  const buffers = NextHopTable.buffers(await measureCapacity(addon));
  const table = new NextHopTable(buffers);
  const logged: string[] = [];
  let localAddresses: readonly string[] = [];
  let localAddresses6: readonly string[] = [];
  let resolvedCalls = 0;
  const mirror = new NextHopMirror({
    addon,
    table,
    interfaces,
    log: (level, _event, message) => logged.push(`${level} ${message}`),
    onLocalAddresses: (addresses) => {
      localAddresses = addresses.map(addressText);
    },
    onLocalAddresses6: (addresses) => {
      localAddresses6 = addresses.map(addressText);
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

  const answer = (hop: number, lookup?: Lookup): Answer => ({
    ...hopState(worker, hop),
    source: lookup?.source ?? '',
    pathMtu: lookup?.pathMtu ?? 0,
    localAddresses,
    localAddresses6,
    linkUp: interfaces.map((_, index) => worker.links.up(index)),
    mtu: interfaces.map((_, index) => worker.links.mtu(index)),
    logged,
    resolvedCalls,
    overruns: mirror.statistics.overruns,
    routes: mirror.statistics.routes,
    routes6: mirror.statistics.routes6,
    handles: openHandles(),
  });
  const input = createInterface({ input: process.stdin });
  const say = (said: Answer): boolean => process.stdout.write(`${JSON.stringify(said)}\n`);
  say(answer(0));
  for await (const line of input) {
    const { ask, address, hop = 0 } = JSON.parse(line) as Question;
    if (ask === 'stop') {
      break;
    }
    const lookup = address === undefined ? undefined : new Lookup(worker, address);
    if (ask === 'touch' && lookup !== undefined && lookup.hop > 0) {
      worker.neighbours.touch(worker.slotOf(lookup.hop), monotonicTick());
    }
    say(answer(lookup?.hop ?? hop, lookup));
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
