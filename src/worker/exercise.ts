/**
 * A director in memory, two workers of it in this thread, and traffic of every kind through the
 * very loop, pipeline and ports that work on the wire: connections made, used, closed, expired and
 * refused by a full table, packets that another worker's connection gets, what is malformed or
 * beyond a limit, neighbours that come and go. Private tables; after construction a round
 * allocates nothing.
 */
import { BURST_MAX, type Port, TX_WORDS } from '../port/port';
import { TapHost } from '../port/tapHost';
import { CLOCK_NANOSECONDS, CLOCK_TRANSMIT, Umem } from '../port/umem';
import { XdpPort } from '../port/xdpPort';
import { SCHEDULER_NAMES } from '../scheduler/index';
import { restartWeightedRoundRobin } from '../scheduler/wrr';
import { COUNTER } from '../table/counter';
import { attachTables, createMemory, type Tables } from '../table/memory';
import { NEIGHBOUR_FAILED, NEIGHBOUR_UNRESOLVED } from '../table/neighbour';
import { type MakePrefetcher, prefetchByReading } from '../table/prefetch';
import { METHOD_NAT, type RealServerSettings } from '../table/realServer';
import { ROUTE_LOCAL, ROUTE_UNICAST, type Route } from '../table/route';
import { LOOKUP_SLOTS } from '../table/schedulerTable';
import { CONTROL_STOP, CONTROL_WORDS } from './contract';
import { VIRTUAL_ADDRESS } from './exerciseFrames';
import { ServerSocket } from './exerciseServer';
import { addNextHops6, addWays, layRoutes6, ownAddress6 } from './exerciseServices';
import { addSettings, Switches } from './exerciseSettings';
import { TraceSwitch } from './exerciseTrace';
import {
  ClientSocket,
  FIRST_ODD_PORT,
  FIRST_SCHEDULER_PORT,
  TCP_PORT,
  UDP_PORT,
} from './exerciseTraffic';
import { Loop } from './loop';
import { Pipeline } from './pipeline';
import { type Join, joinPlainly } from './specialize';
import { Stopwatch } from './stopwatch';
import { Tracer } from './trace';

const RX_FRAMES = COUNTER.rx_frames;
const TCP = 6;
const UDP = 17;
const CHUNK_BYTES = 2048;
const CHUNKS = 1024;
const CAPACITY = 1024;
const FIRST_TICK = 1000;
const WORKERS = 2;
/**
 * Rounds of one cycle, in which everything happens; time stands still in its last part, so that
 * the table gets full.
 */
export const CYCLE = 1024;
const STANDSTILL = 768;
/** Rounds between changes of the sysctls. */
const BLOCK = 16;
/** What is left free when chunks are short. */
const FEW_CHUNKS = 40;
/** Ticks that connections live here, so that they end in a cycle. */
const TIMEOUT = 40;
const MICROSECONDS = 50;
const SCHEDULED_SERVICES = SCHEDULER_NAMES.length * 2;
/** sh-fallback, sh-port and the like: whatever flags a scheduler has. */
const ALL_FLAGS = 7;
const CROWD = 1024;
const CROWD_PORT = 10000;
/** The odd service whose servers' neighbours are yet to be resolved. */
const WAITING_SERVICE = 1;
/** The odd service whose server comes and goes. */
const COMING_SERVICE = 6;

const CLIENT_SIDE = 0;
const SERVER_SIDE = 1;
const CLIENT_NET = 0x0a010000;
const SERVER_NET = 0x0a020000;
const COMING_NEIGHBOUR = SERVER_NET + 0x101;
const ASKED_NEIGHBOUR = SERVER_NET + 0x103;
const MAC_HIGH = 0x02000000;

export class Exercise {
  readonly tables: Tables;
  readonly clients: ClientSocket;
  private readonly umem: Umem;
  private readonly control = new Int32Array(CONTROL_WORDS);
  private readonly runs: readonly (() => void)[];
  private readonly prefetch: MakePrefetcher;
  private readonly join: Join;
  private readonly switches: Switches;
  private readonly traces: TraceSwitch;
  private readonly servers: ServerSocket;
  private readonly coming: readonly number[];
  private readonly scheduled: readonly number[];
  private readonly persistent: readonly number[];
  private readonly hoarded = new Int32Array(CHUNKS);
  private hoards = 0;
  private rounds = 0;
  private nanoseconds = 1;
  private delivered = 0;

  /** `ring`: what wakes the control plane after a neighbour was asked for. */
  constructor(
    seed: number,
    ring: () => void,
    prefetch: MakePrefetcher = prefetchByReading,
    join: Join = joinPlainly,
  ) {
    this.prefetch = prefetch;
    this.join = join;
    const memory = createMemory({
      workers: WORKERS,
      connectionCapacity: CAPACITY,
      hashSeed: seed,
    });
    this.tables = attachTables(memory, ring);
    this.tables.settings.timeouts.fill(TIMEOUT);
    const buffer = new SharedArrayBuffer(Umem.bufferBytes(CHUNK_BYTES, CHUNKS));
    const umem = new Umem(buffer, 0, CHUNK_BYTES, CHUNKS);
    umem.clock[0] = FIRST_TICK;
    this.umem = umem;
    addNextHops(this.tables);
    this.coming = [addServices(this.tables)];
    this.scheduled = addScheduledServices(this.tables);
    const { rx } = umem;
    const clientTx = new Int32Array(BURST_MAX * TX_WORDS);
    const serverTx = new Int32Array(BURST_MAX * TX_WORDS);
    const ways = addWays(this.tables);
    const { frames, persistent } = addSettings(this.tables);
    this.persistent = persistent;
    this.switches = new Switches(this.tables);
    this.traces = new TraceSwitch(this.tables.trace);
    const all = [...ways, ...frames];
    this.clients = new ClientSocket(umem, clientTx, seed, SCHEDULED_SERVICES, all, this.control);
    const servers = new ServerSocket(umem, serverTx);
    this.servers = servers;
    const ports = [
      new XdpPort('clients', CLIENT_SIDE, [this.clients], rx, clientTx),
      new XdpPort('servers', SERVER_SIDE, [servers], rx, serverTx),
    ];
    this.runs = Array.from({ length: WORKERS }, (_, worker) => {
      return join(this.loop(worker, ports), 'run');
    });
    this.control[CONTROL_STOP] = 1; // So an idle call of it comes back.
  }

  private loop(worker: number, ports: readonly XdpPort[]): Loop {
    const { tables } = this;
    const bySlot: (Port | null)[] = [...ports, null];
    // The host refuses now and then.
    const write = () => {
      this.delivered = (this.delivered + 1) & 0xffff;
      return (this.delivered & 7) !== 0;
    };
    tables.wheels[worker]!.start(FIRST_TICK);
    const host = new TapHost({ write });
    const { umem, prefetch, join } = this;
    const pipeline = new Pipeline(tables, worker, umem, bySlot, host, prefetch, join);
    return new Loop({
      ports,
      pipeline,
      tracer: new Tracer(tables, worker, umem, ports, pipeline),
      umem,
      readClock: worker === 0 ? () => this.passTime() : () => void this.passTime(),
      stopwatch: new Stopwatch(this.umem.clock, tables.stages[worker]!),
      counters: tables.counters[worker]!,
      control: this.control,
      poller: { poll: () => 0 },
      mode: worker === 0 ? 'busy' : 'interrupt',
    });
  }

  /** For the stopwatch, some of all lengths of time. */
  private passTime(): void {
    const { clock } = this.umem;
    this.nanoseconds = Math.imul(this.nanoseconds, 5) | 1;
    clock[CLOCK_NANOSECONDS] = (clock[CLOCK_NANOSECONDS]! + this.nanoseconds) | 0;
    clock[CLOCK_TRANSMIT] = (clock[CLOCK_NANOSECONDS]! - (this.nanoseconds >>> 1)) | 0;
  }

  /** By the same again; the table has room for two of which one counts. */
  replaceRoutes(): void {
    layRoutes(this.tables);
    layRoutes6(this.tables);
  }

  /** Of both sides' frames one in `mask` + 1 is damaged from now on; mask -1: none. */
  damage(mask: number): void {
    this.clients.damage.mask = mask;
    this.servers.damage.mask = mask;
  }

  /** Once around one of the workers' loops. Returns how many frames it received. */
  round(): number {
    this.rounds = (this.rounds + 1) & 0xffffff;
    const place = this.rounds % CYCLE;
    this.umem.clock[1] = (this.umem.clock[1]! + MICROSECONDS) | 0;
    this.passTime();
    if (place < STANDSTILL) this.umem.clock[0] = (this.umem.clock[0]! + 1) | 0;
    this.resolve(place);
    this.maintain(place);
    this.direct(place);
    if (place % BLOCK === 0) {
      this.switches.turn(this.rounds / BLOCK);
      this.traces.turn(this.rounds / BLOCK);
    }
    // Not in turns: a server's answer shall meet either worker.
    const worker = (this.rounds ^ (this.rounds >> 3)) & 1;
    const counters = this.tables.counters[worker]!;
    const before = counters[RX_FRAMES]!;
    this.control[CONTROL_STOP] = 0; // The clients' socket sets it when it is asked.
    this.runs[worker]!();
    return counters[RX_FRAMES]! - before;
  }

  /** What the clients do meanwhile: all of them write to one service. */
  private direct(place: number): void {
    switch (place) {
      case 388:
        this.clients.flood = FIRST_ODD_PORT + COMING_SERVICE;
        break;
      case 600:
        this.clients.flood = FIRST_ODD_PORT + WAITING_SERVICE;
        break;
      case 412:
      case 616:
        this.clients.flood = 0;
        break;
    }
  }

  /** What becomes of neighbours meanwhile. */
  private resolve(place: number): void {
    const { nextHops } = this.tables;
    const { neighbours } = nextHops;
    const tick = this.umem.clock[0]!;
    switch (place) {
      case 100:
        nextHops.putResolved(SERVER_SIDE, COMING_NEIGHBOUR, MAC_HIGH, 0x0101, tick);
        break;
      case 200:
        nextHops.removeSlot(neighbours.find(SERVER_SIDE, COMING_NEIGHBOUR), tick);
        break;
      case 606:
        nextHops.putUnresolved(SERVER_SIDE, ASKED_NEIGHBOUR, NEIGHBOUR_UNRESOLVED, tick);
        break;
      case 630:
        nextHops.removeSlot(neighbours.find(SERVER_SIDE, ASKED_NEIGHBOUR), tick);
        break;
    }
  }

  /** What the control plane does meanwhile. */
  private maintain(place: number): void {
    const { nextHops, settings } = this.tables;
    switch (place) {
      case 300:
        nextHops.bump();
        break;
      case 320:
        this.setPresent(this.persistent, false);
        break;
      case 330:
        this.setPresent(this.persistent, true);
        break;
      case 400:
        this.setAvailable(false);
        break;
      case 430:
        this.setAvailable(true);
        break;
      case 470:
        this.clients.isHeadless = true;
        break;
      case 482:
        this.clients.isHeadless = false;
        break;
      case 500:
        settings.serviceCount = 0;
        break;
      case 502:
        settings.serviceCount = 1;
        break;
      case 520:
        this.weigh(WITHOUT_WEIGHT, 1);
        break;
      case 540:
        this.weigh(WITHOUT_WEIGHT, 2);
        break;
      case 560:
        this.weigh(WITH_WEIGHT, 1);
        break;
      case 580:
        this.weigh(WITH_THRESHOLD, 1);
        break;
      case 632:
        this.clients.isLong = true;
        break;
      case 636:
        this.clients.isLong = false;
        break;
      case 650:
        this.hoard(FEW_CHUNKS);
        break;
      case 660:
        this.hoard(0);
        break;
      case 670:
        this.handBack();
        break;
    }
  }

  /** Takes chunks until so many are left. */
  private hoard(left: number): void {
    while (this.umem.freeCount > left) this.hoarded[this.hoards++] = this.umem.take();
  }

  private handBack(): void {
    while (this.hoards > 0) this.umem.release(this.hoarded[--this.hoards]!);
  }

  /** Of the server that comes and goes, and of the first one of each scheduled service. */
  private setAvailable(available: boolean): void {
    this.setPresent(this.coming, available);
    const { realServers } = this.tables;
    for (let at = 0; at < this.scheduled.length; at += 3) {
      const server = this.scheduled[at]!;
      realServers.setAvailable(server, realServers.service(server), available);
    }
  }

  private setPresent(servers: readonly number[], available: boolean): void {
    const { realServers } = this.tables;
    for (let at = 0; at < servers.length; at++) {
      const server = servers[at]!;
      realServers.setAvailable(server, realServers.service(server), available);
    }
  }

  /** Configures every server of the scheduled services, or every second, third ... */
  private weigh(settings: RealServerSettings, step: number): void {
    for (let at = 0; at < this.scheduled.length; at += step) {
      this.tables.realServers.configure(this.scheduled[at]!, settings);
    }
    for (let at = 0; at < this.scheduled.length; at += 3) {
      const service = this.tables.realServers.service(this.scheduled[at]!);
      restartWeightedRoundRobin(this.tables, service, false);
    }
  }
}

const WITH_WEIGHT = settingsWith(3, 0);
const WITHOUT_WEIGHT = settingsWith(0, 0);
const WITH_THRESHOLD = settingsWith(3, 8);

function layRoutes({ nextHops }: Tables): void {
  const gateway = SERVER_NET + 2;
  nextHops.replaceRoutes([
    [
      route(CLIENT_NET, 16, CLIENT_SIDE, 0),
      route(SERVER_NET, 16, SERVER_SIDE, 0),
      route(0x0a040000, 20, SERVER_SIDE, gateway),
      route(0x0a050000, 24, -1, 0),
      { ...route(0x0a02f000, 24, SERVER_SIDE, 0), mtu: 1400, preferredSource: SERVER_NET + 9 },
      { ...route(VIRTUAL_ADDRESS, 32, -1, 0), kind: ROUTE_LOCAL },
    ],
  ]);
}

function addNextHops(tables: Tables): void {
  const { nextHops } = tables;
  for (const slot of [CLIENT_SIDE, SERVER_SIDE]) {
    nextHops.links.set(slot, {
      interfaceIndex: slot + 1,
      macHigh: MAC_HIGH,
      macLow: slot,
      mtu: 1500,
      up: true,
      address: slot === CLIENT_SIDE ? CLIENT_NET + 1 : SERVER_NET + 1,
      address6: ownAddress6(slot),
    });
  }
  layRoutes(tables);
  layRoutes6(tables);
  for (let host = 2; host < 258; host++) {
    nextHops.putResolved(CLIENT_SIDE, CLIENT_NET + host, MAC_HIGH, host, FIRST_TICK);
  }
  for (let host = 2; host < 34; host++) {
    nextHops.putResolved(SERVER_SIDE, SERVER_NET + host, MAC_HIGH, host, FIRST_TICK);
  }
  addNextHops6(tables, FIRST_TICK);
  nextHops.putUnresolved(SERVER_SIDE, SERVER_NET + 0x102, NEIGHBOUR_FAILED, FIRST_TICK);
}

function route(destination: number, prefixLength: number, slot: number, gateway: number): Route {
  return {
    destination,
    prefixLength,
    kind: ROUTE_UNICAST,
    interfaceSlot: slot,
    gateway,
    preferredSource: 0,
    mtu: 0,
  };
}

/** Services of every kind. Returns the server that comes and goes. */
function addServices(tables: Tables): number {
  addService(tables, TCP, TCP_PORT, 0, [SERVER_NET + 3, SERVER_NET + 4, 0x0a040007], 8000);
  addService(tables, UDP, UDP_PORT, 0, [SERVER_NET + 3, SERVER_NET + 5], 0);
  const odd = [
    [], // nobody there
    [COMING_NEIGHBOUR, ASKED_NEIGHBOUR], // neighbours to be asked for
    [SERVER_NET + 0x102], // one that does not answer
    [0x0b000001], // no route
    [VIRTUAL_ADDRESS], // the host itself
    [0x0a050001], // by an interface that is not served
    [SERVER_NET + 6], // one that comes and goes
  ];
  const servers = odd.map((addresses, number) =>
    addService(tables, UDP, FIRST_ODD_PORT + number, 0, addresses, 0),
  );
  // Crowds the index, so that searches meet other services on their way.
  for (let port = 0; port < CROWD; port++) addService(tables, UDP, CROWD_PORT + port, 0, [], 0);
  tables.settings.serviceCount = 1;
  return servers[odd.length - 1]!;
}

/** One service for each scheduler with and without its flags. Returns all their servers. */
function addScheduledServices(tables: Tables): number[] {
  const { services, realServers, schedulerTable } = tables;
  const places = Uint16Array.from({ length: LOOKUP_SLOTS }, (_, at) => 1 + (at % 3));
  const all: number[] = [];
  for (let number = 0; number < SCHEDULED_SERVICES; number++) {
    const scheduler = number % SCHEDULER_NAMES.length;
    const addresses = [SERVER_NET + 7, SERVER_NET + 8, SERVER_NET + 9];
    const last = addService(tables, UDP, FIRST_SCHEDULER_PORT + number, scheduler, addresses, 0);
    const service = realServers.service(last);
    if (number !== scheduler) services.setSchedulerFlags(service, ALL_FLAGS);
    // For those that look servers up in a table.
    const servers = [last - 2, last - 1, last];
    schedulerTable.write(service, places, servers);
    schedulerTable.turn(service);
    restartWeightedRoundRobin(tables, service, true);
    all.push(...servers);
  }
  return all;
}

function settingsWith(weight: number, upperThreshold: number): RealServerSettings {
  return {
    method: METHOD_NAT,
    weight,
    upperThreshold,
    lowerThreshold: upperThreshold >> 2,
    tunnelType: 0,
    tunnelPort: 0,
    tunnelChecksum: 0,
  };
}

/** Returns the last server's slot, 0 without servers. */
function addService(
  tables: Tables,
  protocol: number,
  port: number,
  scheduler: number,
  addresses: readonly number[],
  serverPort: number,
): number {
  const { services, realServers } = tables;
  const virtual = Int32Array.of(VIRTUAL_ADDRESS, 0, 0, 0);
  const service = services.create(
    { family: 4, protocol, address: virtual, port, fwmark: 0 },
    scheduler,
  );
  let last = 0;
  addresses.forEach((address, place) => {
    const words = Int32Array.of(address, 0, 0, 0);
    const server = realServers.create(service, { family: 4, address: words, port: serverPort });
    realServers.configure(server, settingsWith(place + 1, place === 1 ? 8 : 0));
    realServers.setNext(server, last);
    realServers.setAvailable(server, service, true);
    services.setFirstServer(service, server);
    last = server;
  });
  return last;
}
