/**
 * `xvs explain` and `xvs replay` as they are called: what they ask, what they print, what they
 * refuse. The director behind the socket is one on tables of its own.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runXvs } from '#xvs/cli/verbs/main';
import type { ExplainAnswer } from '#xvs/control/explain/protocol';
import { explainRoutes } from '#xvs/control/explain/routes';
import { readCapture } from '#xvs/control/replay/captureFile';
import { formatPcap } from '#xvs/control/replay/captureWriter';
import { AdminSocket } from '#xvs/control/socket';
import { decode } from '../../../support/decode';
import { DIRECTOR_MAC_0, ethernet } from '../../../support/packet';
import { CLIENT_SIDE, Simulation, VIP, VIP6, withServers } from '../../../support/simulation';

interface Said {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

let folder: string;

async function run(...words: string[]): Promise<Said> {
  let stdout = '';
  let stderr = '';
  const status = await runXvs(words, {
    program: 'xvs',
    environment: { XVS_SOCKET: join(folder, 'xvs.sock') },
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
    stdin: () => '',
  });
  return { status, stdout, stderr };
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'xvs-explain-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

describe('explain', () => {
  let simulation: Simulation;
  let admin: AdminSocket;
  before(async () => {
    simulation = new Simulation();
    withServers(simulation, 2);
    simulation.addServer(
      simulation.addService({ protocol: 'sctp', family: 6, address: VIP6, port: 9 }),
      'fd00:2::11',
      9,
      { method: 'dr' },
    );
    const { memory, director } = simulation;
    const interfaces = ['d0', 'd1'];
    const nowTick = (): number => simulation.tick;
    const unserved = {
      services: () => assert.fail(),
      connections: () => assert.fail(),
      timeouts: () => assert.fail(),
      execute: () => assert.fail(),
    };
    const routes = explainRoutes({ memory, director, interfaces, lookup: null, nowTick });
    admin = new AdminSocket(join(folder, 'xvs.sock'), unserved, routes);
    await admin.open();
  });
  after(() => admin.close());

  async function answer(...words: string[]): Promise<ExplainAnswer> {
    const said = await run('explain', ...words, '--json');
    assert.equal(said.status, 0, said.stderr);
    return JSON.parse(said.stdout) as ExplainAnswer;
  }

  test('a tuple becomes a frame with right checksums, of the wanted length', async () => {
    for (const [protocol, source, destination, field] of [
      ['tcp', '10.0.1.100:40001', `${VIP}:80`, 'tcp'],
      ['udp', '10.0.1.100:40001', `${VIP}:80`, 'udp'],
      ['tcp', '[fd00:1::100]:40001', `[${VIP6}]:80`, 'tcp'],
      ['udp', '[fd00:1::100]:40001', `[${VIP6}]:80`, 'udp'],
    ] as const) {
      const { frame } = await answer(
        protocol,
        source,
        destination,
        '--length',
        '101',
        '--ttl',
        '9',
      );
      const bytes = Buffer.from(frame, 'hex');
      const fields = decode(bytes);
      assert.equal(bytes.length, 14 + 101);
      assert.equal(fields[`${field}.checksumIs`], 'correct', `${protocol} ${source}`);
      assert.equal(fields['ipv4.ttl'] ?? fields['ipv6.hopLimit'], 9);
      assert.equal(fields['ethernet.destination'], DIRECTOR_MAC_0);
      assert.equal(fields['ethernet.source'], '02:00:00:00:01:64');
    }
    const sctp = await answer('sctp', '[fd00:1::100]:5', `[${VIP6}]:9`);
    assert.deepEqual([sctp.verdict, sctp.counted.server], ['forwarded', '[fd00:2::11]:9']);
  });

  test('frames in hex and of a capture are what the pipeline gets', async () => {
    const syn = ethernet().ipv4({}).tcp({ flags: 'S' }).build();
    const ack = ethernet().ipv4({}).tcp({ flags: 'A' }).build();
    const hex = Buffer.from(syn).toString('hex').replace(/(..)/g, '$1 ');
    const told = await answer('--hex', hex);
    assert.equal(told.frame, Buffer.from(syn).toString('hex'));
    assert.equal(told.verdict, 'forwarded');
    assert.match(told.connections[0]?.after ?? '', /nat, SYN_RECV, 0 s old, expires in 60 s$/);
    const file = join(folder, 'in.pcap');
    const packets = [syn, ack].map((frame) => ({ nanoseconds: 1n, interface: 0, frame }));
    writeFileSync(file, formatPcap(packets));
    const second = await answer('--pcap', file, '--number', '2', '--interface', 'd0');
    assert.deepEqual([second.verdict, second.host.length], ['not_scheduled', 1]);
  });

  test('a known connection: what it was, and is', async () => {
    simulation.receive(CLIENT_SIDE, ethernet().ipv4({}).tcp({ source: 50000, flags: 'S' }).build());
    const words = ['explain', 'tcp', '10.0.1.100:50000', `${VIP}:80`, '--flags', 'A'];
    const { stdout } = await run(...words);
    assert.match(stdout, /^ {2}was: 10\.0\.1\.100:50000 to .*SYN_RECV/m);
    assert.match(stdout, /^ {2}is: {2}10\.0\.1\.100:50000 to .*ESTABLISHED,/m);
    assert.match(stdout, /^out d1 tcp 10\.0\.1\.100:50000 > 10\.0\.2\.1\d:8000 \[A\]/m);
    assert.doesNotMatch(stdout, /XDP/);
  });

  test('without --interface it comes in where the route to its source leads', async () => {
    const server = await answer('tcp', '10.0.2.11:8000', '10.0.1.100:1');
    assert.equal(server.interface, 'd1');
    const nobody = await answer('tcp', '192.0.2.77:8000', '10.0.1.100:1');
    assert.equal(nobody.interface, 'd0');
  });

  test('what makes no sense is refused, with what is allowed', async () => {
    const refusals: readonly (readonly [string[], number, RegExp])[] = [
      [['icmp', '1.1.1.1:1', '2.2.2.2:2'], 2, /"icmp": tcp, udp, sctp are allowed/],
      [['tcp', '1.1.1.1:1'], 2, /PROTOCOL SOURCE:PORT DESTINATION:PORT is allowed/],
      [['tcp', '1.1.1.1', '2.2.2.2:2'], 2, /1\.1\.1\.1: 192\.0\.2\.1:80 or \[2001:db8::1\]:80/],
      [['tcp', '1.1.1.1:1', '2.2.2.2:70000'], 2, /2\.2\.2\.2:70000: /],
      [['tcp', '1.1.1.1:1', '[fd00::1]:1'], 1, /1\.1\.1\.1 and fd00::1 are of two families/],
      [['tcp', '1.1.1.1:1', '2.2.2.2:2', '--flags', 'X'], 2, /--flags X: letters of FSRPAU/],
      [['udp', '1.1.1.1:1', '2.2.2.2:2', '--flags', 'S'], 2, /--flags: only with tcp/],
      [['--hex', '0'], 2, /--hex: an even number of hex digits/],
      [['--hex', '00', '--ttl', '1'], 2, /--ttl: not with --hex or --pcap/],
      [['--hex', '00'.repeat(3687)], 1, /frame: /],
      [['--number', '1'], 2, /--number: only with --pcap/],
      [['--pcap', join(folder, 'none')], 1, /none: cannot be read/],
      [['--pcap', __filename], 1, /pcap and pcapng files are allowed/],
      [['tcp', '1.1.1.1:1', '2.2.2.2:2', '--interface', 'e'], 1, /interface e: xvs serves d0, d1/],
    ];
    for (const [words, status, message] of refusals) {
      const said = await run('explain', ...words);
      assert.equal(said.status, status, `${words.join(' ')}: ${said.stderr}`);
      assert.match(said.stderr, message);
    }
  });
});

describe('replay', () => {
  const CONFIG = `interfaces: [{name: d0}, {name: d1}]
services: [{tcp: "${VIP}:80", servers: [{address: "10.0.2.11:8000", method: nat}]}]
`;
  let config: string;
  let input: string;
  before(() => {
    config = join(folder, 'xvs.yaml');
    input = join(folder, 'in.pcap');
    writeFileSync(config, CONFIG);
    const frames = ['S', 'A'].map((flags) => ethernet().ipv4({}).tcp({ flags }).build());
    const packets = frames.map((frame, at) => ({
      nanoseconds: BigInt(at) * 1_500_000_000n,
      interface: 0,
      frame,
    }));
    writeFileSync(input, formatPcap(packets));
  });

  test('prints each packet, the sums, and writes what left', async () => {
    const out = join(folder, 'out.pcapng');
    const said = await run('replay', input, '--config', config, '--out', out);
    assert.equal(said.status, 0, said.stderr);
    assert.match(said.stdout, /^1 0\.000000 d0 54 bytes: forwarded, 1 sent\n2 1\.500000 d0 /);
    assert.match(said.stdout, /^2 packets, 2 frames sent\nMAC made up for: 10\.0\.2\.11$/m);
    assert.match(said.stdout, /^connections_created 1$/m);
    assert.match(said.stdout, /^ {2}-> 10\.0\.2\.11:8000 +1 +2 +0 +80 +0$/m);
    const { interfaces, packets } = readCapture(readFileSync(out), out);
    assert.deepEqual(
      interfaces.map(({ name }) => name),
      ['d0', 'd1'],
    );
    assert.deepEqual(
      packets.map((packet) => [packet.interface, packet.nanoseconds]),
      [
        [1, 0n],
        [1, 1_500_000_000n],
      ],
    );
    assert.equal(decode(packets[0]!.frame)['ipv4.destination'], '10.0.2.11');
  });

  test('as JSON, a line a packet', async () => {
    const { stdout } = await run('replay', input, '--config', config, '--json');
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ number, verdict, lengthBytes }) => [number, verdict, lengthBytes]).slice(0, 2),
      [
        [1, 'forwarded', 54],
        [2, 'forwarded', 54],
      ],
    );
    assert.equal(lines[2].counters.tx_frames, 2);
    assert.deepEqual(lines[2].invented, ['10.0.2.11']);
  });

  test('what cannot be is refused', async () => {
    const bad = join(folder, 'bad.yaml');
    writeFileSync(
      bad,
      'interfaces: [{name: d0}]\nservices: [{tcp: "1.1.1.1:80", scheduler: no}]\n',
    );
    const refusals: readonly (readonly [string[], number, RegExp])[] = [
      [['--config', config], 2, /one capture IN is allowed, and needed/],
      [[input], 2, /--config FILE is missing/],
      [[join(folder, 'none'), '--config', config], 1, /none: cannot be read/],
      [[config, '--config', config], 1, /pcap and pcapng files are allowed/],
      [[input, '--config', bad], 1, /bad\.yaml:2: .*scheduler/],
      [[input, '--config', join(folder, 'none')], 1, /cannot be read/],
      [[input, '--config', config, '--out', join(folder, 'no', 'x')], 1, /cannot be written/],
    ];
    for (const [words, status, message] of refusals) {
      const said = await run('replay', ...words);
      assert.equal(said.status, status, `${words.join(' ')}: ${said.stderr}`);
      assert.match(said.stderr, message);
    }
  });
});
