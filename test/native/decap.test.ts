/**
 * `xvs decap` on a real server of its own namespace: every tunnel, IPv4 and IPv6 in either, frames
 * made here and sent by an AF_XDP socket on the other end of its cable; the server's kernel answers
 * the inner packet, and the answer is read here. What must not be stripped is not.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addon, type XdpProgram } from '#xvs/port/addon';
import { ethernet, internetChecksum, type PacketBuilder } from '../support/packet';
import {
  endpointKey,
  giveChunk,
  ip,
  Lab,
  type Memory,
  makeMemory,
  type Opened,
  openQueue,
  scriptIn,
  TCP,
  takeChunk,
  UDP,
  word,
} from './support';

const NEAR = 'xvsdc0';
const FAR = 'xvsdc1';
const XVS = resolve(__dirname, '..', '..', 'bin', 'xvs.js');
const NEAR_MAC = '02:00:00:00:dc:10';
const FAR_MAC = '02:00:00:00:dc:01';
const PORT = 7777;
const GUE = 5555;
const ETHERNET_BYTES = 14;
type Family = 4 | 6;
const VIP = { 4: '203.0.113.80', 6: 'fd00:80::1' } as const;
const RIP = { 4: '192.0.2.10', 6: 'fd00:2::10' } as const;
const DIRECTOR = { 4: '192.0.2.1', 6: 'fd00:2::1' } as const;
const CLIENT = { 4: '198.51.100.7', 6: 'fd00:7::7' } as const;
const TYPE = { 4: 0x0800, 6: 0x86dd } as const;
const IN_IP = { 4: 4, 6: 41 } as const;
const GRE = 47;

const lab = new Lab();
let host = '';
let program: XdpProgram;
let memory: Memory;
let far: Opened;
let server: ReturnType<typeof scriptIn>;

function outer(family: Family, protocol: number, destination: string = RIP[family]) {
  const addresses = { source: DIRECTOR[family], destination, protocol };
  const frame = ethernet({ destination: NEAR_MAC, source: FAR_MAC });
  return family === 4 ? frame.ipv4(addresses) : frame.ipv6(addresses);
}

function headed(family: Family, destination: string): PacketBuilder {
  const addresses = { source: CLIENT[family], destination };
  return family === 4 ? ethernet({}).ipv4(addresses) : ethernet({}).ipv6(addresses);
}

/** A packet from the client, without its Ethernet header. `unfinished`: its checksum is open. */
function inner(
  family: Family,
  protocol: number,
  { unfinished = false, destination = VIP[family] as string, sourcePort = 40_000, bytes = 33 } = {},
): Uint8Array {
  const ports = { source: sourcePort, destination: PORT };
  const checksum = unfinished ? ('unfinished' as const) : ('correct' as const);
  const packet = headed(family, destination);
  if (protocol === TCP) packet.tcp({ ...ports, flags: 'S', checksum });
  else packet.udp({ ...ports, checksum }).payload(new Uint8Array(bytes).fill(0x5a));
  return packet.build().slice(ETHERNET_BYTES);
}

function u16(value: number): number[] {
  return [value >> 8, value & 0xff];
}

/** `extra`: of key and sequence number. `wrong`: the checksum is. */
function gre(family: Family, packet: Uint8Array, checksum: boolean, extra: number[], wrong = 0) {
  const flags = (checksum ? 0x8000 : 0) | (extra.length > 0 ? 0x3000 : 0);
  const head = [...u16(flags), ...u16(TYPE[family]), ...(checksum ? [0, 0, 0, 0] : []), ...extra];
  const bytes = Uint8Array.from([...head, ...packet]);
  if (checksum) new DataView(bytes.buffer).setUint16(4, internetChecksum(bytes) ^ wrong);
  return bytes;
}

function gue(family: Family, packet: Uint8Array, options: readonly number[] = []): Uint8Array {
  const flags = options.length > 0 ? 1 : 0;
  return Uint8Array.from([options.length / 4, IN_IP[family], 0, flags, ...options, ...packet]);
}

/** Remote checksum offload of a packet: where the sum begins and where it is put. */
function remote(family: Family, protocol: number): number[] {
  const start = family === 4 ? 20 : 40;
  return [0x80, 0, 0, 0, ...u16(start), ...u16(start + (protocol === TCP ? 16 : 6))];
}

function overUdp(family: Family, content: Uint8Array, checksum: 'correct' | 'unfinished' | 0) {
  const ports = { source: 54321, destination: GUE, checksum };
  return outer(family, UDP).udp(ports).payload(content).build();
}

type Make = (outside: Family, inside: Family, protocol: number, sourcePort: number) => Uint8Array;
const TUNNELS: Readonly<Record<string, Make>> = {
  ipip: (outside, inside, protocol, sourcePort) =>
    outer(outside, IN_IP[inside])
      .payload(inner(inside, protocol, { sourcePort }))
      .build(),
  gre: (outside, inside, protocol, sourcePort) =>
    outer(outside, GRE)
      .payload(gre(inside, inner(inside, protocol, { sourcePort }), false, []))
      .build(),
  'gre with checksum': (outside, inside, protocol, sourcePort) =>
    outer(outside, GRE)
      .payload(gre(inside, inner(inside, protocol, { sourcePort }), true, []))
      .build(),
  'gre with checksum, key and number': (outside, inside, protocol, sourcePort) =>
    outer(outside, GRE)
      .payload(gre(inside, inner(inside, protocol, { sourcePort }), true, [1, 2, 3, 4, 0, 0, 0, 9]))
      .build(),
  gue: (outside, inside, protocol, sourcePort) =>
    overUdp(outside, gue(inside, inner(inside, protocol, { sourcePort })), 0),
  'gue with checksum': (outside, inside, protocol, sourcePort) =>
    overUdp(outside, gue(inside, inner(inside, protocol, { sourcePort })), 'correct'),
  'gue with a checksum left to a device': (outside, inside, protocol, sourcePort) =>
    overUdp(outside, gue(inside, inner(inside, protocol, { sourcePort })), 'unfinished'),
  'gue with remote checksum offload': (outside, inside, protocol, sourcePort) => {
    const open = inner(inside, protocol, { sourcePort, unfinished: true, bytes: 1201 });
    return overUdp(outside, gue(inside, open, remote(inside, protocol)), 'correct');
  },
  'gue without a header': (outside, inside, protocol, sourcePort) =>
    overUdp(outside, inner(inside, protocol, { sourcePort }), 0),
};

function send(frame: Uint8Array): void {
  const offset = takeChunk(memory);
  memory.bytes.set(frame, offset);
  far.tx.set([offset, frame.length, 0], 0);
  assert.equal(far.socket.txBurst(1), 1);
}

/**
 * The server's answer to the client's port, waited for; null: none came. Others are left out: a
 * SYN's answer comes again after a second.
 */
async function answer(
  family: Family,
  protocol: number,
  port: number,
  timeoutMs: number,
): Promise<Uint8Array | null> {
  const deadline = Date.now() + timeoutMs;
  while (Date.now() < deadline) {
    if (far.socket.rxBurst(1) === 1) {
      const [offset, length] = far.rx;
      const frame = memory.bytes.slice(offset!, offset! + length!);
      giveChunk(memory, offset!);
      if (isAnswer(frame, family, protocol, port)) return frame;
    } else await new Promise((done) => setTimeout(done, 1));
  }
  return null;
}

function isAnswer(frame: Uint8Array, family: Family, protocol: number, port: number): boolean {
  const view = new DataView(frame.buffer, ETHERNET_BYTES);
  const at = family === 4 ? 20 : 40;
  return (
    view.getUint8(0) >> 4 === family &&
    view.getUint8(family === 4 ? 9 : 6) === protocol &&
    view.getUint16(at) === PORT &&
    view.getUint16(at + 2) === port
  );
}

const children: ChildProcess[] = [];

class Running {
  readonly child: ChildProcess;
  #said = '';
  #errors = '';
  constructor(...words: string[]) {
    const command = ['netns', 'exec', host, process.execPath, XVS, 'decap', 'eth0', ...words];
    this.child = spawn('ip', command, { stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(this.child);
    this.child.stdout!.setEncoding('utf8').on('data', (text) => {
      this.#said += text;
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.#errors += text;
    });
  }
  async started(): Promise<string> {
    await Promise.race([once(this.child.stdout!, 'data'), once(this.child, 'exit')]);
    assert.equal(this.#errors, '');
    return this.#said;
  }
  /** Ends it; its counters. */
  async end(): Promise<Record<string, number>> {
    const gone = once(this.child, 'close');
    this.child.kill('SIGTERM');
    assert.deepEqual(await gone, [0, null], this.#errors);
    const last = this.#said.trimEnd().split('\n').at(-1)!;
    const counts = last.slice(last.indexOf(': ') + 2).split(', ');
    return Object.fromEntries(
      counts.map((text) => [text.split(' ')[0]!, Number(text.split(' ')[1])]),
    );
  }
}

function inHost(...words: string[]): void {
  execFileSync('ip', ['netns', 'exec', host, ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
}

async function makeServer(): Promise<void> {
  host = lab.namespace('decap');
  lab.pair(NEAR, FAR);
  ip('link', 'set', FAR, 'address', FAR_MAC);
  ip('link', 'set', NEAR, 'address', NEAR_MAC);
  ip('link', 'set', NEAR, 'netns', host, 'name', 'eth0');
  for (const key of ['all', 'default', 'eth0']) {
    inHost('sysctl', '-q', '-w', `net.ipv6.conf.${key}.disable_ipv6=0`);
    inHost('sysctl', '-q', '-w', `net.ipv4.conf.${key}.rp_filter=0`);
  }
  ip('-n', host, 'link', 'set', 'eth0', 'up');
  for (const family of [4, 6] as const) {
    const bits = family === 4 ? 32 : 128;
    const flags = family === 6 ? ['nodad'] : [];
    const on = (address: string, device: string): string =>
      ip('-n', host, 'address', 'add', address, 'dev', device, ...flags);
    on(`${RIP[family]}/${family === 4 ? 24 : 64}`, 'eth0');
    on(`${VIP[family]}/${bits}`, 'lo');
    const gateway = DIRECTOR[family];
    ip('-n', host, 'neighbour', 'add', gateway, 'lladdr', FAR_MAC, 'dev', 'eth0');
    ip('-n', host, `-${family}`, 'route', 'add', 'default', 'via', gateway);
  }
  server = scriptIn(host, 'decapHost', String(PORT), ...Object.values(VIP), ...Object.values(RIP));
  server.ended.catch(() => undefined);
  await server.started;
}

before(async () => {
  await makeServer();
  memory = makeMemory(512);
  far = openQueue(memory, FAR);
  program = addon.loadProgram();
  for (const address of [...Object.values(VIP), ...Object.values(RIP)]) {
    for (const protocol of [TCP, UDP]) {
      program.mapUpdate('real_servers', endpointKey(address, PORT, protocol), word(1));
    }
  }
  program.attach(FAR, 'native');
  program.setSocket(FAR, 0, far.socket.fd);
});
after(() => {
  for (const child of children) child.kill('SIGKILL');
  program?.close();
  memory?.umem.close();
  server?.child.kill();
  lab.remove();
});

describe('xvs decap', { timeout: 120_000 }, () => {
  it('strips every tunnel, and the server answers the client itself', async () => {
    const running = new Running('--vip', VIP[4], `--vip=${VIP[6]}`, '--port', String(GUE));
    assert.equal(
      await running.started(),
      `eth0: strips ipip, gre and gue (port ${GUE}) to ${VIP[4]}, ${VIP[6]}; native XDP\n`,
    );
    const expected: Record<string, number> = { decap_ipip: 0, decap_gre: 0, decap_gue: 0 };
    let port = 40_000;
    for (const [name, make] of Object.entries(TUNNELS)) {
      for (const [outside, inside] of [
        [4, 4],
        [4, 6],
        [6, 4],
        [6, 6],
      ] as const) {
        for (const protocol of [UDP, TCP]) {
          const what = `${name}, ${inside} in ${outside}, protocol ${protocol}`;
          send(make(outside, inside, protocol, ++port));
          assert.ok((await answer(inside, protocol, port, 2000)) !== null, `${what}: no answer`);
          expected[`decap_${name.split(' ')[0]}`]! += 1;
        }
      }
    }
    const counts = await running.end();
    for (const [name, count] of Object.entries(expected)) assert.equal(counts[name], count, name);
    assert.equal(counts['drop_checksum'], undefined);
  });

  it('leaves alone what is not to be stripped, and drops what is broken', async () => {
    const running = new Running('--vip', VIP[4], '--port', String(GUE));
    await running.started();
    const silent = async (frame: Uint8Array): Promise<void> => {
      send(frame);
      assert.equal(await answer(4, UDP, 40_000, 60), null);
    };
    const udp = (family: Family, options = {}): Uint8Array => inner(family, UDP, options);
    // Inner packets to other addresses of the host.
    await silent(
      outer(4, 4)
        .payload(udp(4, { destination: RIP[4] }))
        .build(),
    );
    await silent(outer(4, 41).payload(udp(6)).build());
    // Through this host, not to it.
    inHost('sysctl', '-q', '-w', 'net.ipv4.conf.all.forwarding=1');
    await silent(outer(4, 4, '203.0.113.99').payload(udp(4)).build());
    inHost('sysctl', '-q', '-w', 'net.ipv4.conf.all.forwarding=0');
    await silent(
      outer(4, GRE)
        .payload(gre(4, udp(4), true, [], 0x0100))
        .build(),
    );
    const broken = gue(4, udp(4));
    const lying = outer(4, UDP).udp({ source: 1, destination: GUE, checksum: 0x1234 });
    await silent(lying.payload(broken).build());
    // Offsets of a remote checksum that lead out of the packet.
    const open = udp(4, { unfinished: true });
    await silent(overUdp(4, gue(4, open, [0x80, 0, 0, 0, 0, 20, 0xff, 0xf0]), 0));
    await silent(overUdp(4, gue(4, udp(4).slice(0, 19)), 0));
    const fragment = { source: DIRECTOR[4], destination: RIP[4], protocol: 4, fragment: 0x2000 };
    await silent(ethernet({ destination: NEAR_MAC }).ipv4(fragment).payload(udp(4)).build());
    // What is no tunnel reaches the host as ever.
    const plain = ethernet({ destination: NEAR_MAC, source: FAR_MAC })
      .ipv4({ source: CLIENT[4], destination: RIP[4] })
      .udp({ source: 40_000, destination: PORT })
      .payload('plain');
    send(plain.build());
    assert.ok((await answer(4, UDP, 40_000, 2000)) !== null);
    const counts = await running.end();
    const { pass_not_tunnel: others, ...told } = counts;
    assert.ok(others! >= 1);
    assert.deepEqual(told, {
      pass_malformed: 1,
      pass_fragment: 1,
      pass_transit: 1,
      pass_not_vip: 2,
      drop_checksum: 2,
      drop_failed: 1,
      decap_ipip: 0,
      decap_gue: 0,
      decap_gre: 0,
    });
  });

  it('takes every inner address when none is named, and is gone when it ended', async () => {
    const running = new Running();
    assert.match(await running.started(), /gue \(port 6080\) to any address; native XDP\n$/);
    send(
      outer(4, 4)
        .payload(inner(4, UDP, { destination: RIP[4] }))
        .build(),
    );
    assert.ok((await answer(4, UDP, 40_000, 2000)) !== null);
    assert.equal((await running.end())['decap_ipip'], 1);
    const [link] = JSON.parse(ip('-n', host, '-j', 'link', 'show', 'eth0'));
    assert.equal(link.xdp?.prog, undefined);
  });

  it('says what is wrong with a line or an interface', () => {
    const said = (...words: string[]): [number | null, string] => {
      try {
        execFileSync(process.execPath, [XVS, 'decap', ...words], {
          encoding: 'utf8',
          stdio: 'pipe',
        });
      } catch (error) {
        const { status, stderr } = error as { status: number; stderr: string };
        return [status, stderr];
      }
      return [0, ''];
    };
    const lines: [string[], RegExp][] = [
      [[], /one INTERFACE is allowed, and needed/],
      [['a', 'b'], /a b: one INTERFACE/],
      [['eth0', '--vip', '1.2.3'], /--vip 1\.2\.3: an IPv4 or IPv6 address is allowed/],
      [['eth0', '--port', '0'], /--port 0: 1 to 65535 are allowed/],
      [['eth0', '--port'], /--port: its value is missing/],
      [['eth0', '--vips', '1'], /--vips: unknown option; allowed are --vip, --port/],
    ];
    for (const [words, message] of lines) {
      const [status, text] = said(...words);
      assert.equal(status, 2);
      assert.match(text, message);
    }
    const [status, text] = said('xvsnone');
    assert.equal(status, 1);
    assert.match(text, /decap xvsnone: attach: xvsnone: ENODEV: no interface has this name/);
  });
});
