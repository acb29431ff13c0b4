/**
 * The schedulers once more, plain and slow: lists of objects, BigInt hashes, tables made anew for
 * each choice, wrr level by level. What the product must agree with, choice for choice.
 */
import { parseIpv4 } from '#xvs/net/address';

export interface ModelServer {
  readonly number: number;
  readonly address: string;
  readonly port: number;
  weight: number;
  lastWeight: number;
  overloaded: boolean;
  available: boolean;
  active: number;
  inactive: number;
}
export interface ModelCall {
  readonly client: string;
  readonly port: number;
  readonly destination: string;
  readonly tick: number;
}
export type Change = 'begin' | 'add' | 'edit' | 'delete';

const unsigned = (address: string): bigint => BigInt(parseIpv4(address) >>> 0);
const load = (server: ModelServer): number => server.active * 256 + server.inactive;
const usable = (server: ModelServer): boolean => server.weight > 0 && !server.overloaded;

/** Of the list the first whose cost per weight no later one undercuts. */
function cheapest(
  list: readonly ModelServer[],
  cost: (server: ModelServer) => number,
): ModelServer | undefined {
  return list
    .filter(usable)
    .reduce<ModelServer | undefined>(
      (best, other) =>
        best === undefined || cost(best) * other.weight > cost(other) * best.weight ? other : best,
      undefined,
    );
}
const wlc = (list: readonly ModelServer[]) => cheapest(list, load);
const sed = (list: readonly ModelServer[]) => cheapest(list, (server) => server.active + 1);

function heaviest(list: readonly ModelServer[]): ModelServer | undefined {
  const most = Math.max(...list.map((server) => server.weight));
  return list.find((server) => server.weight === most);
}

const WORD = 1n << 64n;
const rotate = (value: bigint, bits: bigint): bigint =>
  ((value << bits) | (value >> (64n - bits))) % WORD;

/** SipHash-1-3 of four bytes as its authors write it, both words of the key `key`. */
export function modelSipHash(key: bigint, word: bigint): bigint {
  let [a, b] = [key ^ 0x736f6d6570736575n, key ^ 0x646f72616e646f6dn];
  let [c, d] = [key ^ 0x6c7967656e657261n, key ^ 0x7465646279746573n];
  const round = (): void => {
    a = (a + b) % WORD;
    b = rotate(b, 13n) ^ a;
    a = rotate(a, 32n);
    c = (c + d) % WORD;
    d = rotate(d, 16n) ^ c;
    a = (a + d) % WORD;
    d = rotate(d, 21n) ^ a;
    c = (c + b) % WORD;
    b = rotate(b, 17n) ^ c;
    c = rotate(c, 32n);
  };
  const block = (4n << 56n) | word;
  d ^= block;
  round();
  a ^= block;
  c ^= 0xffn;
  for (let i = 0; i < 3; i++) round();
  return (a ^ b ^ c ^ d) & 0xffffffffn;
}

const hash32 = (value: bigint): number => Number(((value * 0x61c88647n) & 0xffffffffn) >> 24n);
const maglevHash = (key: bigint, value: bigint): bigint => modelSipHash(key, value % (1n << 32n));
const divisorOf = (a: number, b: number): number => (b === 0 ? a : divisorOf(b, a % b));

function maglevTable(list: readonly ModelServer[]): (ModelServer | undefined)[] {
  const table = new Array<ModelServer | undefined>(4093).fill(undefined);
  const g = list.reduce((sum, server) => divisorOf(sum, server.lastWeight), 0);
  if (g === 0) return table;
  const most = Math.max(...list.map((server) => server.lastWeight)) / g;
  const shift = Math.max(0, most.toString(2).length - 6);
  const orders = list.map((server) => {
    const value = unsigned(server.address) + BigInt(server.port);
    const offset = Number(maglevHash(2654435761n, value) % 4093n);
    const skip = Number(maglevHash(2654446892n, value) % 4092n) + 1;
    return { server, offset, skip, tries: 0 };
  });
  let left = table.length;
  while (left > 0) {
    for (const order of orders) {
      const { lastWeight } = order.server;
      const turns = lastWeight === 0 ? 0 : Math.max(1, Math.floor(lastWeight / g) >> shift);
      for (let turn = 0; turn < turns && left > 0; turn++) {
        const place = (): number => (order.offset + order.tries * order.skip) % 4093;
        while (table[place()] !== undefined) order.tries++;
        table[place()] = order.server;
        left--;
      }
    }
  }
  return table;
}

function sourceTable(list: readonly ModelServer[]): (ModelServer | undefined)[] {
  const shares = list.flatMap((server) =>
    new Array<ModelServer>(Math.max(1, server.weight)).fill(server),
  );
  return Array.from({ length: 256 }, (_, slot) => shares[slot % shares.length]);
}

interface Remembered {
  lastUse: number;
  lastChange: number;
  servers: ModelServer[];
}

export class SchedulerModel {
  /** Newest first. */
  list: ModelServer[] = [];
  readonly scheduler: string;
  readonly #fallback: boolean;
  readonly #port: boolean;
  #last: ModelServer | undefined;
  #wrr = { last: -1, current: 0, top: 0, step: 1 };
  #table: (ModelServer | undefined)[] = [];
  readonly remembered = new Map<string, Remembered>();

  constructor(scheduler: string, flags: readonly [boolean, boolean] = [false, false]) {
    this.scheduler = scheduler;
    this.#fallback = flags[0];
    this.#port = flags[1];
  }

  /** To be called after the list has changed; `before` is the deleted one's predecessor. */
  changed(change: Change, server?: ModelServer, before?: ModelServer): void {
    if (change === 'delete' && this.#last === server) this.#last = before;
    if (this.scheduler === 'dh' && change !== 'edit') {
      this.#table = Array.from({ length: 256 }, (_, slot) => this.list[slot % this.list.length]);
    }
    if (this.scheduler === 'sh') this.#table = sourceTable(this.list);
    if (this.scheduler === 'mh') this.#table = maglevTable(this.list);
    const step = this.list.reduce((sum, { weight }) => divisorOf(sum, weight), 0) || 1;
    const top = Math.max(0, ...this.list.map(({ weight }) => weight)) - (step - 1);
    let { current } = this.#wrr;
    if (change === 'begin' || current > top || current === 0) current = top;
    else if (step > 1) current = Math.floor(current / step) * step + 1;
    this.#wrr = { last: -1, current, top, step };
  }

  choose(call: ModelCall): ModelServer | undefined {
    const { list } = this;
    switch (this.scheduler) {
      case 'rr':
        return this.#roundRobin();
      case 'wrr':
        return this.#weightedRoundRobin();
      case 'lc': {
        const least = Math.min(...list.filter(usable).map(load));
        return list.find((server) => usable(server) && load(server) === least);
      }
      case 'wlc':
        return wlc(list);
      case 'sed':
        return sed(list);
      case 'nq':
        return list.find((server) => usable(server) && server.active === 0) ?? sed(list);
      case 'fo':
        return heaviest(list.filter(usable));
      case 'ovf':
        return heaviest(list.filter((server) => usable(server) && server.active <= server.weight));
      case 'dh': {
        const server = this.#table[hash32(unsigned(call.destination))];
        return server !== undefined && usable(server) ? server : undefined;
      }
      case 'sh':
      case 'mh':
        return this.#hash(call);
      case 'lblc':
      case 'lblcr':
        return this.#locality(call);
      default:
        throw new Error(`no model of ${this.scheduler}`);
    }
  }

  #roundRobin(): ModelServer | undefined {
    const at = this.#last === undefined ? -1 : this.list.indexOf(this.#last);
    const found = [...this.list.slice(at + 1), ...this.list.slice(0, at + 1)].find(usable);
    if (found !== undefined) this.#last = found;
    return found;
  }

  /** One server after the other, one level after the other. */
  #weightedRoundRobin(): ModelServer | undefined {
    const state = this.#wrr;
    if (state.top === 0) return undefined;
    const began = state.last;
    let stop = -1;
    let isLowest = false;
    let wrapped = false;
    for (;;) {
      for (let at = state.last + 1; at < this.list.length; at++) {
        state.last = at;
        const server = this.list[at]!;
        if (!server.overloaded && server.weight >= state.current) return server;
        if (at === stop) return undefined;
      }
      state.last = -1;
      state.current -= state.step;
      if (state.current <= 0) {
        state.current = state.top;
        if (isLowest || began === -1) return undefined;
        wrapped = true;
      }
      isLowest = state.current <= state.step;
      if (isLowest && wrapped) stop = began;
    }
  }

  #hash(call: ModelCall): ModelServer | undefined {
    const isMaglev = this.scheduler === 'mh';
    const value = unsigned(call.client) + (this.#port ? BigInt(call.port) : 0n);
    const size = isMaglev ? 4093 : 256;
    const slotOf = (offset: number): number =>
      isMaglev
        ? Number(maglevHash(2654435761n, value + BigInt(offset)) % 4093n)
        : (hash32(value % (1n << 32n)) + offset) % 256;
    const home = slotOf(0);
    const offsets = [0];
    for (let i = 0; this.#fallback && i < size; i++) offsets.push((home + i) % size);
    for (const offset of offsets) {
      const server = this.#table[slotOf(offset)];
      if (server === undefined) return undefined;
      if (usable(server)) return server;
    }
    return undefined;
  }

  #isBusy(server: ModelServer): boolean {
    const halfIdle = this.list.some((other) => other.active * 2 < other.weight);
    return server.active > server.weight && halfIdle;
  }

  #locality({ destination, tick }: ModelCall): ModelServer | undefined {
    const known = this.remembered.get(destination);
    if (known !== undefined) known.lastUse = tick;
    const chosen = this.scheduler === 'lblc' ? this.#single(known) : this.#ofSet(known, tick);
    if (chosen !== undefined && !this.#isBusy(chosen)) return chosen;
    const server = wlc(this.list);
    if (server === undefined) return undefined;
    if (known === undefined) {
      this.remembered.set(destination, { lastUse: tick, lastChange: tick, servers: [server] });
    } else if (this.scheduler === 'lblc') {
      known.servers = [server];
    } else if (!known.servers.includes(server)) {
      known.servers.unshift(server);
      known.lastChange = tick;
    }
    return server;
  }

  /** lblc does not look at overload here. */
  #single(known: Remembered | undefined): ModelServer | undefined {
    return known?.servers.find((server) => server.available && server.weight > 0);
  }

  #ofSet(known: Remembered | undefined, tick: number): ModelServer | undefined {
    if (known === undefined) return undefined;
    const chosen = wlc(known.servers.filter(({ available }) => available));
    if (known.servers.length > 1 && tick - known.lastChange > 864_000) {
      const weighted = known.servers.filter(({ weight }) => weight > 0);
      const ratio = (server: ModelServer): number => load(server) / server.weight;
      const most = Math.max(...weighted.map(ratio));
      const leaving = weighted.find((server) => ratio(server) === most);
      known.servers = known.servers.filter((server) => server !== leaving);
      if (leaving !== undefined) known.lastChange = tick;
    }
    return chosen;
  }
}
