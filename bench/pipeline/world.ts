/**
 * The director of the bench: one NAT service with eight real servers, clients behind a gateway,
 * and as many connections as wanted, all made by the pipeline itself from their first packets.
 */
import { Director } from '#xvs/control/director';
import { parseIpv4 } from '#xvs/net/address';
import { BURST_MAX } from '#xvs/port/port';
import { Umem } from '#xvs/port/umem';
import { COUNTER } from '#xvs/table/counter';
import { attachTables, createMemory, type DirectorMemory, type Tables } from '#xvs/table/memory';
import type { MakePrefetcher } from '#xvs/table/prefetch';
import { ROUTE_UNICAST, type Route } from '#xvs/table/route';
import { Pipeline } from '#xvs/worker/pipeline';
import { BenchHost, BenchPort } from './benchPort';
import { type Flow, FrameWriter, TCP_ACK, TCP_SYN } from './frame';
import { BATCH_FRAMES, CHUNK_BYTES, FRAME_BYTES, SERVER_COUNT } from './settings';

const CLIENT_SIDE = 0;
const SERVER_SIDE = 1;
const VIRTUAL_ADDRESS = parseIpv4('198.51.100.1');
const VIRTUAL_PORT = 80;
const SERVER_PORT = 8000;
const SERVERS = parseIpv4('10.0.0.16');
const CLIENTS = parseIpv4('172.16.0.0');
const CLIENT_ADDRESSES = 16384;
const FIRST_CLIENT_PORT = 20000;
const FIRST_TICK = 1000;
/** Where a page begins in a buffer that glibc made by mmap: chunks are page-aligned, as in C. */
const PAGE_OFFSET = 4096 - 16;

export class World {
  readonly memory: DirectorMemory;
  readonly tables: Tables;
  readonly umem: Umem;
  readonly ports: readonly [BenchPort, BenchPort];
  readonly host = new BenchHost();
  readonly pipeline: Pipeline;
  readonly flows: readonly Flow[];

  constructor(flowCount: number, protocol: 'udp' | 'tcp', prefetch?: MakePrefetcher) {
    const capacity = Math.max(flowCount, 1024);
    this.memory = createMemory({ workers: 1, connectionCapacity: capacity, hashSeed: 0x5eed1234 });
    this.tables = attachTables(this.memory, () => {});
    const buffer = new SharedArrayBuffer(Umem.bufferBytes(CHUNK_BYTES, BATCH_FRAMES));
    this.umem = new Umem(buffer, PAGE_OFFSET, CHUNK_BYTES, BATCH_FRAMES);
    this.umem.clock[0] = FIRST_TICK;
    this.tables.wheels[0]!.start(FIRST_TICK);
    this.ports = [new BenchPort('client side', CLIENT_SIDE), new BenchPort('server side', 1)];
    this.pipeline = new Pipeline(this.tables, 0, this.umem, [...this.ports], this.host, prefetch);
    addService(this.tables, protocol);
    addNextHops(this.tables);
    this.flows = this.#connect(flowCount, protocol);
  }

  /** Receives nothing: works on the burst that `port` has prepared, as a worker does. */
  burst(port: BenchPort): void {
    const count = port.receive();
    this.pipeline.process(port, count);
    this.ports[CLIENT_SIDE].transmit();
    this.ports[SERVER_SIDE].transmit();
  }

  /** Makes the connections and has each remember both of its next hops. */
  #connect(flowCount: number, protocol: 'udp' | 'tcp'): Flow[] {
    const flows: Flow[] = [];
    const writer = new FrameWriter(this.umem.view);
    for (let first = 0; first < flowCount; first += BURST_MAX) {
      const count = Math.min(BURST_MAX, flowCount - first);
      const some = Array.from({ length: count }, (_, i) => client(first + i, protocol));
      for (const flags of protocol === 'tcp' ? [TCP_SYN, TCP_ACK] : [0]) {
        some.forEach((flow, i) => {
          writer.writeInbound(i * CHUNK_BYTES + 256, flow, flags);
        });
        this.#send(CLIENT_SIDE, count);
      }
      some.forEach((flow, i) => {
        // The real server is whom the packet went to.
        flow.server = this.umem.view.getInt32(i * CHUNK_BYTES + 256 + 30);
        flow.serverPort = this.umem.view.getUint16(i * CHUNK_BYTES + 256 + 36);
      });
      some.forEach((flow, i) => {
        writer.writeOutbound(i * CHUNK_BYTES + 256, flow, TCP_ACK);
      });
      this.#send(SERVER_SIDE, count);
      flows.push(...some);
    }
    const created = this.tables.counters[0]![COUNTER.connections_created];
    if (created !== flowCount) throw new Error(`${flowCount} connections wanted, ${created} made`);
    return flows;
  }

  #send(side: number, count: number): void {
    const port = this.ports[side]!;
    const sent = this.ports[0].sent + this.ports[1].sent;
    port.prepare(256, CHUNK_BYTES, count, FRAME_BYTES);
    this.pipeline.process(port, count);
    this.ports[CLIENT_SIDE].transmit();
    this.ports[SERVER_SIDE].transmit();
    if (this.ports[0].sent + this.ports[1].sent !== sent + count) {
      throw new Error(`of ${count} frames only some were forwarded: ${describeCounters(this)}`);
    }
  }
}

function describeCounters(world: World): string {
  return [...world.tables.counters[0]!.subarray(0, 64)].join(' ');
}

function client(number: number, protocol: 'udp' | 'tcp'): Flow {
  return {
    protocol: protocol === 'tcp' ? 6 : 17,
    client: CLIENTS + 1 + (number % CLIENT_ADDRESSES),
    clientPort: FIRST_CLIENT_PORT + Math.floor(number / CLIENT_ADDRESSES),
    virtual: VIRTUAL_ADDRESS,
    virtualPort: VIRTUAL_PORT,
    server: 0,
    serverPort: 0,
  };
}

function addService(tables: Tables, protocol: 'udp' | 'tcp'): void {
  const director = new Director(tables);
  const service = {
    family: 4,
    protocol,
    address: '198.51.100.1',
    port: VIRTUAL_PORT,
    fwmark: 0,
  } as const;
  director.execute({
    command: 'add-service',
    service,
    settings: {
      scheduler: 'rr',
      persistentTimeout: 0,
      netmask: '255.255.255.255',
      onePacket: false,
      schedulerFlags: [false, false, false],
      persistenceEngine: '',
    },
  });
  for (let number = 0; number < SERVER_COUNT; number++) {
    director.execute({
      command: 'add-server',
      service,
      server: { family: 4, address: `10.0.0.${16 + number}`, port: SERVER_PORT },
      settings: {
        method: 'nat',
        weight: 1,
        upperThreshold: 0,
        lowerThreshold: 0,
        tunnel: { type: 'ipip', port: 0, checksum: 'nocsum' },
      },
    });
  }
}

function addNextHops(tables: Tables): void {
  const { nextHops } = tables;
  const gateway = parseIpv4('198.51.100.254');
  const links = ['198.51.100.2', '10.0.0.1'];
  links.forEach((address, slot) => {
    nextHops.links.set(slot, {
      interfaceIndex: 2 + slot,
      macHigh: 0x02000000 | slot,
      macLow: 0x0001,
      mtu: 1500,
      up: true,
      address: parseIpv4(address),
    });
  });
  nextHops.replaceRoutes([
    [
      route('198.51.100.0', 24, CLIENT_SIDE, 0),
      route('10.0.0.0', 24, SERVER_SIDE, 0),
      route('172.16.0.0', 12, CLIENT_SIDE, gateway),
    ],
  ]);
  nextHops.putResolved(CLIENT_SIDE, gateway, 0x02000000, 0x00fe, FIRST_TICK);
  for (let number = 0; number < SERVER_COUNT; number++) {
    nextHops.putResolved(SERVER_SIDE, SERVERS + number, 0x02000001, 0x0010 + number, FIRST_TICK);
  }
}

function route(prefix: string, length: number, interfaceSlot: number, gateway: number): Route {
  return {
    destination: parseIpv4(prefix),
    prefixLength: length,
    kind: ROUTE_UNICAST,
    interfaceSlot,
    gateway,
    preferredSource: 0,
    mtu: 0,
  };
}
