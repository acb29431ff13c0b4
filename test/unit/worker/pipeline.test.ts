/**
 * What the pipeline does with time and with more than one packet: reuse, waiting for neighbours,
 * limits, several workers. Single packets: test/fixture/verdicts.test.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryPort } from '#xvs/port/memoryPort';
import { Umem } from '#xvs/port/umem';
import { COUNTER, realServerTraffic, serviceTraffic } from '#xvs/table/counter';
import { DUE_MAX } from '#xvs/worker/expire';
import { Pipeline } from '#xvs/worker/pipeline';
import { Specializer } from '#xvs/worker/specialize';
import { decode } from '../../support/decode';
import { Hosts } from '../../support/hosts';
import { ethernet } from '../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  Simulation,
  serverAddress,
  serverMac,
  VIP,
  withServers,
} from '../../support/simulation';

const CLIENT = '10.0.1.100:40001';
const SERVICE = `${VIP}:80`;

const datagram = (source: number, content = ''): Uint8Array =>
  ethernet().ipv4().udp({ source }).payload(content).build();

test('a SYN in TIME_WAIT is scheduled anew, the old connection ends', () => {
  const simulation = new Simulation();
  withServers(simulation, 2);
  const hosts = new Hosts(simulation);
  assert.equal(hosts.connect(CLIENT, SERVICE), 'rs2');
  assert.deepEqual(
    simulation.connections().map(({ state }) => state),
    ['TIME_WAIT'],
  );
  assert.equal(hosts.connect(CLIENT, SERVICE, true), 'rs1');
  assert.deepEqual(
    simulation.connections().map(({ state, real }) => `${state} ${real}`),
    [`ESTABLISHED ${serverAddress(1)}`],
  );
  simulation.advance(1);
  assert.equal(simulation.counter('connections_expired'), 1);
  assert.deepEqual(simulation.verdicts(), {});
  simulation.assertNoLeak();
});

test('a SYN in CLOSE is scheduled anew, one in any other state is the connection’s', () => {
  const simulation = new Simulation();
  withServers(simulation, 2);
  const hosts = new Hosts(simulation);
  assert.equal(hosts.connect(CLIENT, SERVICE, true), 'rs2');
  const syn = ethernet().ipv4().tcp({ source: 40001 }).build();
  const again = simulation.receive(CLIENT_SIDE, syn);
  assert.equal(decode(again.sent[SERVER_SIDE][0]!)['ipv4.destination'], serverAddress(2));
  hosts.reset(CLIENT, 'rs2');
  assert.equal(simulation.connections()[0]!.state, 'CLOSE');
  const anew = simulation.receive(CLIENT_SIDE, syn);
  assert.equal(decode(anew.sent[SERVER_SIDE][0]!)['ipv4.destination'], serverAddress(1));
});

test('a SYN with RST in TIME_WAIT ends the connection and goes to the host', () => {
  const simulation = new Simulation();
  withServers(simulation, 2);
  new Hosts(simulation).connect(CLIENT, SERVICE);
  const outcome = simulation.receive(CLIENT_SIDE, ethernet().ipv4().tcp({ flags: 'SR' }).build());
  assert.equal(outcome.host.length, 1);
  assert.deepEqual(simulation.verdicts(), { not_scheduled: 1 });
  assert.deepEqual(simulation.connections(), []);
});

test('a connection ends when its time is over, and its server has one less', () => {
  const simulation = new Simulation();
  const service = withServers(simulation, 1);
  const slot = simulation.serverSlot(service, serverAddress(1));
  const { realServers } = simulation.tables;
  const counts = () => [realServers.active(slot), realServers.inactive(slot)];
  const hosts = new Hosts(simulation);
  hosts.connect(CLIENT, SERVICE, true);
  assert.deepEqual(counts(), [1, 0]);
  simulation.advance(8999);
  assert.deepEqual(counts(), [1, 0]);
  hosts.close(CLIENT, 'rs1');
  assert.deepEqual(counts(), [0, 1]);
  simulation.advance(1199);
  assert.deepEqual(counts(), [0, 1]);
  simulation.advance(1);
  assert.deepEqual(counts(), [0, 0]);
  assert.equal(simulation.counter('connections_expired'), 1);
});

test('a table full of ended connections is free again', () => {
  const simulation = new Simulation();
  withServers(simulation, 2, { protocol: 'udp' });
  const { capacity } = simulation.tables.connections;
  const fill = (from: number): number => {
    const frames = Array.from({ length: capacity }, (_, at) => datagram(from + at));
    return simulation.receive(CLIENT_SIDE, frames).sent[SERVER_SIDE].length;
  };
  assert.equal(fill(1024), capacity);
  assert.equal(fill(20_000), 0);
  assert.equal(simulation.counter('table_full'), capacity);
  simulation.advance(3000);
  assert.equal(simulation.counter('connections_expired'), capacity);
  assert.equal(fill(20_000), capacity);
  simulation.jump(100_000);
  assert.deepEqual(simulation.connections(), []);
  assert.equal(simulation.counter('connections_expired'), 2 * capacity);
  simulation.assertNoLeak();
});

test('frames wait for a neighbour and leave in order when it is known', () => {
  const simulation = new Simulation({ neighbours: false });
  withServers(simulation, 1, { protocol: 'udp' });
  for (const source of [1, 2, 3]) simulation.receive(CLIENT_SIDE, datagram(source, 'x'));
  simulation.advance(29);
  assert.equal(simulation.workers[0]!.pipeline.egress.waiting, 3);
  simulation.assertNoLeak();
  simulation.resolve(SERVER_SIDE, serverAddress(1), serverMac(1));
  // In the same tick: the count of resolutions tells.
  simulation.workers[0]!.tidyUp(simulation.tick);
  const { sent } = simulation.workers[0]!.take();
  const ports = sent[SERVER_SIDE].map((frame) => decode(frame)['udp.source']);
  assert.deepEqual(ports, [1, 2, 3]);
  const first = decode(sent[SERVER_SIDE][0]!);
  assert.equal(first['ethernet.destination'], serverMac(1));
  assert.equal(first['udp.checksumIs'], 'correct');
  assert.equal(simulation.counter('neighbour_waited'), 3);
  assert.deepEqual(simulation.verdicts(), {});
  simulation.assertNoLeak();
});

test('a frame keeps its age while others leave, and is dropped at three seconds', () => {
  const simulation = new Simulation({ neighbours: false });
  withServers(simulation, 2, { protocol: 'udp' });
  simulation.receive(CLIENT_SIDE, [datagram(1), datagram(2)]);
  simulation.advance(20);
  simulation.resolve(SERVER_SIDE, serverAddress(2), serverMac(2));
  assert.equal(simulation.advance(1).sent[SERVER_SIDE].length, 1);
  simulation.receive(CLIENT_SIDE, [datagram(3), datagram(4)]);
  simulation.advance(8);
  assert.deepEqual(simulation.verdicts(), {});
  simulation.advance(1);
  assert.deepEqual(simulation.verdicts(), { neighbour_unresolved: 1 });
  simulation.advance(30);
  assert.deepEqual(simulation.verdicts(), { neighbour_unresolved: 2 });
  simulation.assertNoLeak();
});

test('a server that moves to another MAC is sent to there at once', () => {
  const simulation = new Simulation();
  withServers(simulation, 1, { protocol: 'udp' });
  const mac = () => {
    const { sent } = simulation.receive(CLIENT_SIDE, datagram(1));
    return decode(sent[SERVER_SIDE][0]!)['ethernet.destination'];
  };
  assert.equal(mac(), serverMac(1));
  simulation.resolve(SERVER_SIDE, serverAddress(1), '02:00:00:00:02:99');
  assert.equal(mac(), '02:00:00:00:02:99');
});

test('ICMP errors are limited, counted, and come again when time has passed', () => {
  const simulation = new Simulation();
  simulation.addService({ protocol: 'udp' });
  const flood = () =>
    simulation.receive(
      CLIENT_SIDE,
      Array.from({ length: 200 }, (_, at) => datagram(1024 + at)),
    ).sent[CLIENT_SIDE].length;
  assert.equal(flood(), 50);
  assert.equal(simulation.counter('icmp_rate_limited'), 150);
  assert.equal(simulation.counter('icmp_sent'), 50);
  assert.deepEqual(simulation.verdicts(), { no_real_server: 200 });
  simulation.advance(1);
  assert.equal(flood(), 50);
  simulation.assertNoLeak();
});

test('replies that another worker receives are translated too, and counted as foreign', () => {
  const simulation = new Simulation({ workers: 2 });
  withServers(simulation, 2);
  withServers(simulation, 2, { protocol: 'udp' });
  const hosts = new Hosts(simulation);
  hosts.serverWorker = 1;
  for (let port = 40001; port <= 40010; port++) {
    assert.equal(hosts.connect(`10.0.1.100:${port}`, SERVICE), port % 2 ? 'rs2' : 'rs1');
    assert.equal(hosts.datagram(`10.0.1.100:${port}`, SERVICE, 100), port % 2 ? 'rs2' : 'rs1');
  }
  // SYN+ACK, data and FIN of each connection, one datagram each.
  assert.equal(simulation.counter('foreign_packets'), 40);
  const [first, second] = simulation.workers;
  assert.equal(first!.umem.freeCount, first!.umem.chunkCount);
  assert.equal(second!.umem.freeCount, second!.umem.chunkCount);
  const states = simulation.connections().map(({ state }) => state);
  assert.equal(states.filter((state) => state === 'TIME_WAIT').length, 10);
  assert.equal(states.filter((state) => state === 'UDP').length, 10);
});

test('a client whose packets move to another worker keeps its server', () => {
  const simulation = new Simulation({ workers: 2 });
  withServers(simulation, 3);
  const hosts = new Hosts(simulation);
  const name = hosts.connect(CLIENT, SERVICE, true);
  hosts.clientWorker = 1;
  assert.ok(hosts.exchange(CLIENT, name));
  hosts.close(CLIENT, name);
  // A new connection of the same ends, by the worker that did not make the first.
  assert.notEqual(hosts.connect(CLIENT, SERVICE, true), name);
  simulation.advance(1);
  assert.equal(simulation.connections().length, 1);
  assert.equal(simulation.counter('connections_expired'), 1);
  simulation.advance(9000);
  assert.equal(simulation.counter('connections_expired'), 2);
  assert.deepEqual(simulation.connections(), []);
});

test('a time made shorter by another worker is kept by the owner', () => {
  const simulation = new Simulation({ workers: 2 });
  withServers(simulation, 1);
  const hosts = new Hosts(simulation);
  hosts.connect(CLIENT, SERVICE, true);
  hosts.clientWorker = 1;
  hosts.reset(CLIENT, 'rs1');
  assert.equal(simulation.connections()[0]!.state, 'CLOSE');
  simulation.advance(99);
  assert.equal(simulation.counter('connections_expired'), 0);
  simulation.advance(1);
  assert.equal(simulation.counter('connections_expired'), 1);
  const [owner] = simulation.tables.counters;
  assert.equal(owner![COUNTER.connections_expired], 1, 'the owner ended it');
});

test('changed timeouts apply to a connection at its next packet', () => {
  const simulation = new Simulation();
  withServers(simulation, 1, { protocol: 'udp' });
  simulation.receive(CLIENT_SIDE, [datagram(1), datagram(2)]);
  simulation.director.execute({
    command: 'set-timeouts',
    timeouts: { tcp: 0, tcpFin: 0, udp: 10 },
  });
  simulation.receive(CLIENT_SIDE, datagram(2));
  simulation.advance(100);
  assert.deepEqual(
    simulation.connections().map(({ clientPort, expiresSeconds }) => [clientPort, expiresSeconds]),
    [[1, 290]],
  );
});

test('traffic is counted for service and server, and by each worker for itself', () => {
  const simulation = new Simulation({ workers: 2 });
  const service = withServers(simulation, 1, { protocol: 'udp' });
  const hosts = new Hosts(simulation);
  hosts.serverWorker = 1;
  hosts.datagram('10.0.1.100:5000', SERVICE, 100);
  hosts.clientWorker = 1;
  hosts.datagram('10.0.1.100:5000', SERVICE, 100);
  const { slot, servers } = simulation.director.find(service)!;
  const expected = [1, 2, 2, 256, 2 * (20 + 8 + 'rs1:100'.length)];
  for (const at of [serviceTraffic(slot), realServerTraffic(servers[0]!.slot)]) {
    assert.deepEqual([...simulation.director.sum(at)].slice(0, 5), expected);
  }
  assert.equal(simulation.counter('rx_frames'), 4);
  assert.equal(simulation.counter('tx_frames'), 4);
  assert.equal(simulation.counter('connections_created'), 1);
});

test('frames left unfinished by a sender are finished on their way, both ways', () => {
  const simulation = new Simulation();
  withServers(simulation, 1);
  const syn = ethernet().ipv4().tcp({ checksum: 'unfinished' }).build();
  const there = simulation.receive(CLIENT_SIDE, syn).sent[SERVER_SIDE][0]!;
  assert.equal(decode(there)['tcp.checksumIs'], 'correct');
  const answer = ethernet({ source: serverMac(1), destination: '02:00:00:00:02:01' })
    .ipv4({ source: serverAddress(1), destination: '10.0.1.100' })
    .tcp({ source: 8000, destination: 40001, flags: 'SA', checksum: 'unfinished' })
    .build();
  const back = simulation.receive(SERVER_SIDE, answer).sent[CLIENT_SIDE][0]!;
  assert.equal(decode(back)['tcp.checksumIs'], 'correct');
  assert.equal(simulation.counter('checksums_unfinished'), 2);
  const stray = ethernet().ipv4().tcp({ destination: 81, checksum: 'unfinished' }).build();
  const { host } = simulation.receive(CLIENT_SIDE, stray);
  assert.equal(decode(host[0]!)['tcp.checksumIs'], 'correct', 'the host is told as well');
});

test('padding behind a short packet is not sent on', () => {
  const simulation = new Simulation();
  withServers(simulation, 1, { protocol: 'udp' });
  const frame = ethernet().ipv4().udp().payload('hi').pad(16).build();
  assert.equal(frame.length, 60);
  const { sent } = simulation.receive(CLIENT_SIDE, frame);
  assert.equal(sent[SERVER_SIDE][0]!.length, 44);
  assert.equal(decode(sent[SERVER_SIDE][0]!)['udp.checksumIs'], 'correct');
});

test('a client behind a router is answered through it', () => {
  const simulation = new Simulation();
  withServers(simulation, 1, { protocol: 'udp' });
  const frame = ethernet().ipv4({ source: '172.16.9.9' }).udp({ source: 7 }).build();
  assert.equal(simulation.receive(CLIENT_SIDE, frame).sent[SERVER_SIDE].length, 1);
  const answer = ethernet({ source: serverMac(1), destination: '02:00:00:00:02:01' })
    .ipv4({ source: serverAddress(1), destination: '172.16.9.9' })
    .udp({ source: 8000, destination: 7 })
    .build();
  const back = simulation.receive(SERVER_SIDE, answer).sent[CLIENT_SIDE][0]!;
  assert.equal(decode(back)['ethernet.destination'], '02:00:00:00:01:64');
  assert.equal(decode(back)['ipv4.source'], VIP);
});

test('a burst of more frames than a port stages at once leaves whole', () => {
  const simulation = new Simulation({ chunks: 1024 });
  withServers(simulation, 4, { protocol: 'udp' });
  const frames = Array.from({ length: 700 }, (_, at) => datagram(1024 + at));
  assert.equal(simulation.receive(CLIENT_SIDE, frames).sent[SERVER_SIDE].length, 700);
  simulation.assertNoLeak();
});

test('without chunks frames are not received, and nothing else breaks', () => {
  const simulation = new Simulation({ chunks: 4 });
  withServers(simulation, 1, { protocol: 'udp' });
  const frames = Array.from({ length: 10 }, (_, at) => datagram(1024 + at));
  assert.equal(simulation.receive(CLIENT_SIDE, frames).sent[SERVER_SIDE].length, 4);
  assert.equal(simulation.workers[0]!.ports[CLIENT_SIDE].refused, 6);
  simulation.assertNoLeak();
});

test('a frame that begins at an odd address is forwarded like any other', () => {
  const simulation = new Simulation();
  withServers(simulation, 1);
  for (const shiftBytes of [0, 1, 2, 3]) {
    simulation.workers[0]!.ports[CLIENT_SIDE].shiftBytes = shiftBytes;
    const content = `behind ${shiftBytes}`;
    const frame = ethernet().ipv4().tcp({ source: 40001 }).payload(content).build();
    const [sent] = simulation.receive(CLIENT_SIDE, frame).sent[SERVER_SIDE];
    assert.equal(decode(sent!)['ipv4.destination'], serverAddress(1));
    assert.ok(Buffer.from(sent!).toString('latin1').endsWith(content));
  }
  assert.deepEqual(simulation.verdicts(), {});
  simulation.assertNoLeak();
});

test('packets of one new connection in one burst are one connection', () => {
  const simulation = new Simulation();
  withServers(simulation, 2);
  const packet = ethernet().ipv4().tcp({ source: 40001 });
  const others = [40002, 40003].map((source) => ethernet().ipv4().tcp({ source }).build());
  const more = packet.payload('more').build();
  const { sent } = simulation.receive(CLIENT_SIDE, [packet.build(), ...others, more, more]);
  const servers = sent[SERVER_SIDE].map((frame) => decode(frame)['ipv4.destination']);
  assert.equal(simulation.counter('connections_created'), 3);
  assert.deepEqual(servers.slice(3), [servers[0], servers[0]]);
  assert.deepEqual(simulation.verdicts(), {});
});

test('a port that receives into a list of its own is refused', () => {
  const { tables, workers } = new Simulation();
  const { umem, ports, host } = workers[0]!;
  const other = new Umem(new SharedArrayBuffer(Umem.bufferBytes(2048, 8)), 0, 2048, 8);
  const foreign = [ports[0], new MemoryPort('far', 1, other)];
  const refused = /^RangeError: port far: receives into another list than its UMEM's/;
  assert.throws(() => new Pipeline(tables, 0, umem, foreign, host), refused);
});

test('idle calls of what is made for one worker leave what is due alone', () => {
  const simulation = new Simulation();
  withServers(simulation, 1);
  new Hosts(simulation).connect(CLIENT, SERVICE);
  const { tables, workers, tick } = simulation;
  const { umem, ports, host, pipeline } = workers[0]!;
  // As a worker that takes a dead one's place: everything is overdue.
  umem.clock[0] = tick + 100_000;
  const before = simulation.connections().length;
  const specializer = new Specializer();
  new Pipeline(tables, 0, umem, ports, host, undefined, specializer.join);
  assert.deepEqual(specializer.compile(), []);
  assert.equal(simulation.connections().length, before);
  assert.ok(pipeline.expire(umem.clock[0]!, DUE_MAX) > 0);
  assert.deepEqual(simulation.connections(), []);
});
