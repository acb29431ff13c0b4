/**
 * The filter of `xvs trace`: as tcpdump judges the same packets, and what it says to a filter that
 * makes no sense. Run as a worker runs it.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFilter } from '#xvs/control/trace/filterParse';
import { compileFilter, writeProgram } from '#xvs/control/trace/filterProgram';
import { Umem } from '#xvs/port/umem';
import { TRACE_INSTRUCTIONS_MAX, TraceTable } from '#xvs/table/trace';
import { TraceFilter } from '#xvs/worker/traceFilter';
import { ethernet, SYN_OPTIONS } from '../../../support/packet';
import { formatPcap, parsePcap } from '../../../support/pcap';

const CHUNK_BYTES = 2048;
const FRAMES = 256;
const FILTERS = 60;
/** Longer than anything the filters look at: BPF refuses whole packets that end before. */
const FRAME_BYTES_MIN = 128;

const table = new TraceTable(TraceTable.buffer(1));
const buffer = new SharedArrayBuffer(Umem.bufferBytes(CHUNK_BYTES, FRAMES));
const umem = new Umem(buffer, 0, CHUNK_BYTES, FRAMES);
const filter = new TraceFilter(table, umem);

/** Numbers of the frames that fit. */
function fitting(text: string, frames: readonly Uint8Array[]): number[] {
  const rx = new Int32Array(frames.length * 2);
  frames.forEach((frame, number) => {
    const at = number * CHUNK_BYTES + 256;
    umem.bytes.set(frame, at);
    rx.set([at, frame.length], number * 2);
  });
  writeProgram(table, compileFilter(parseFilter(text)));
  filter.load();
  const found: number[] = [];
  let at = filter.first(rx, 0, frames.length);
  while (at < frames.length) {
    found.push(at);
    at = filter.first(rx, at + 1, frames.length);
  }
  return found;
}

/** The same by tcpdump, without its optimizer, which refuses what fits nothing. */
function fittingToTcpdump(text: string, frames: readonly Uint8Array[]): number[] {
  const input = formatPcap(frames.map((bytes, seconds) => ({ seconds, bytes })));
  const words = ['-r', '-', '-w', '-', '-O', '-Z', 'root', text];
  const done = spawnSync('tcpdump', words, { input, maxBuffer: 1 << 24 });
  assert.equal(done.status, 0, `tcpdump ${text}: ${done.stderr}`);
  return parsePcap(done.stdout).map(({ seconds }) => seconds);
}

const ADDRESSES = ['10.0.0.1', '10.0.0.2', '10.1.0.1', '192.168.0.1'];
const ADDRESSES6 = ['fd00::1', 'fd00::2', 'fd00:0:0:1::1', '2001:db8::1'];
const PORTS = [0, 53, 80, 81, 443, 40000, 65535];
const MACS = ['02:00:00:00:00:01', '02:00:00:00:00:02'];
const FLAGS = ['S', 'SA', 'A', 'FA', 'R', 'PA', ''];
const FRAGMENTS = [0, 0, 0, 0x4000, 0x2000, 0x2010, 0x0020];
/** A fragment header; a hop-by-hop header. */
const EXTENSIONS = [
  [44, [0, 0, 0, 0, 0, 0, 0, 1]],
  [0, [0, 0, 1, 4, 0, 0, 0, 0]],
] as const;

const anyFrame = fc
  .record({
    transport: fc.constantFrom('tcp', 'udp', 'icmp', 'icmp6', 'sctp', 'none', 'tcp', 'udp'),
    isIpv6: fc.boolean(),
    source: fc.nat(3),
    destination: fc.nat(3),
    macs: fc.tuple(fc.constantFrom(...MACS), fc.constantFrom(...MACS)),
    ports: fc.tuple(fc.constantFrom(...PORTS), fc.constantFrom(...PORTS)),
    flags: fc.constantFrom(...FLAGS),
    fragment: fc.constantFrom(...FRAGMENTS),
    options: fc.boolean(),
    extension: fc.option(fc.constantFrom(...EXTENSIONS), { nil: null }),
    type: fc.constantFrom(0, 3, 8, 11, 128, 135),
    pad: fc.nat(400),
    isIp: fc.integer({ min: 0, max: 15 }).map((one) => one > 0),
  })
  .map((one) => {
    const [source, destination] = one.macs;
    const frame = ethernet({ source, destination, ...(one.isIp ? {} : { type: 0x88cc }) });
    const addresses = one.isIpv6 ? ADDRESSES6 : ADDRESSES;
    const ends = {
      source: addresses[one.source]!,
      destination: addresses[one.destination]!,
      ...(one.transport === 'sctp' ? { protocol: 132 } : {}),
    };
    const protocol = { tcp: 6, udp: 17, icmp: 1, icmp6: 58, sctp: 132, none: 253 }[one.transport];
    if (one.isIpv6) {
      const [nextHeader, bytes] = one.extension ?? [undefined, []];
      const extensions = Uint8Array.from(bytes);
      if (extensions.length > 0) extensions[0] = protocol;
      frame.ipv6({ ...ends, extensions, ...(nextHeader === undefined ? {} : { nextHeader }) });
    } else {
      const options = one.options ? Uint8Array.of(1, 1, 1, 0) : new Uint8Array(0);
      frame.ipv4({ ...ends, fragment: one.fragment, options });
    }
    const [from, to] = one.ports;
    const pair = { source: from, destination: to };
    if (one.transport === 'tcp') frame.tcp({ ...pair, flags: one.flags, options: SYN_OPTIONS });
    else if (one.transport === 'udp') frame.udp(pair);
    else if (one.transport === 'icmp') frame.icmp({ type: one.type });
    else if (one.transport === 'icmp6') frame.icmp6({ type: one.type });
    else frame.payload(Uint8Array.of(from >> 8, from & 255, to >> 8, to & 255, 0, 0, 0, 0));
    return frame.pad(FRAME_BYTES_MIN + one.pad).build();
  });

/** A primitive, and how tcpdump has to be asked for the same. */
type Primitive = readonly [ours: string, theirs: string];
const same = (text: string): Primitive => [text, text];
const anyHost = fc.constantFrom(...ADDRESSES, ...ADDRESSES6);
const anySide = fc.constantFrom('', 'src ', 'dst ', 'src or dst ', 'src and dst ', 'dst or src ');
const anyPort = fc.constantFrom(...PORTS);
const anyOwner = fc.constantFrom('', 'tcp ', 'udp ', 'sctp ');
const anyComparison = fc.constantFrom('=', '==', '!=', '>', '<', '>=', '<=');
const anyNet = fc.constantFrom(
  ...['10.0.0.0/8', '10.0', '192.168.0.0/16', '10.0.0.0 mask 255.255.0.0', '0.0.0.0/0'],
  ...['fd00::/16', 'fd00::/64', '2001:db8::/33', '::/0', 'fd00:0:0:1::/64', '10.0.0.2/31'],
);

/** tcp[...] of tcpdump looks at IPv4 alone; ours at IPv6 too. */
function behindIp(owner: 'tcp' | 'udp' | 'sctp', offset: number, rest: string): Primitive {
  const number = { tcp: 6, udp: 17, sctp: 132 }[owner];
  return [
    `${owner}[${offset}] ${rest}`,
    `(${owner}[${offset}] ${rest} or (ip6[6] = ${number} and ip6[${40 + offset}] ${rest}))`,
  ];
}

const anyPrimitive: fc.Arbitrary<Primitive> = fc.oneof(
  fc.tuple(anySide, anyHost).map(([side, host]) => same(`${side}host ${host}`)),
  fc.tuple(fc.constantFrom('src', 'dst'), anyHost).map(([side, host]) => same(`${side} ${host}`)),
  fc.constantFrom(...ADDRESSES).map((host) => same(`ip src host ${host}`)),
  fc.tuple(anySide, anyNet).map(([side, net]) => same(`${side}net ${net}`)),
  fc
    .tuple(anyOwner, anySide, anyPort)
    .map(([owner, side, port]) => same(`${owner}${side}port ${port}`)),
  fc
    .tuple(anyOwner, anySide, anyPort, anyPort)
    .map(([owner, side, one, other]) =>
      same(`${owner}${side}portrange ${Math.min(one, other)}-${Math.max(one, other)}`),
    ),
  fc.constantFrom('ip', 'ip6', 'tcp', 'udp', 'sctp', 'icmp', 'icmp6', 'ah', 'esp').map(same),
  fc
    .tuple(fc.constantFrom('ip proto', 'ip6 proto', 'proto'), fc.constantFrom(6, 17, 44, 58, 253))
    .map(([what, number]) => same(`${what} ${number}`)),
  fc
    .tuple(fc.constantFrom('less', 'greater'), fc.integer({ min: 150, max: 600 }))
    .map(([what, bytes]) => same(`${what} ${bytes}`)),
  fc
    .tuple(anyComparison, fc.integer({ min: 150, max: 600 }))
    .map(([is, bytes]) => same(`len ${is} ${bytes}`)),
  fc
    .tuple(fc.constantFrom('', 'src ', 'dst '), fc.constantFrom(...MACS))
    .map(([side, mac]) => same(`ether ${side}host ${mac}`)),
  fc
    .tuple(
      fc.constantFrom(
        'ip[0]',
        'ip[8:1]',
        'ip[2:2]',
        'ip[12:4]',
        'ip6[7]',
        'ip6[4:2]',
        'ether[0:4]',
        'ether[12:2]',
        'icmp[icmptype]',
        'icmp[1]',
        'icmp6[0]',
      ),
      anyComparison,
      fc.constantFrom(0, 1, 8, 64, 0x45, 0x0800, 0x0a000001, 0x86dd),
    )
    .map(([field, is, value]) => same(`${field} ${is} ${value}`)),
  fc.tuple(anyComparison, fc.nat(63)).map(([is, value]) => behindIp('tcp', 13, `${is} ${value}`)),
  fc
    .constantFrom('tcp-syn', '(tcp-syn|tcp-ack)', 'tcp-rst', '0x11')
    .map((flags) => behindIp('tcp', 13, `& ${flags} != 0`)),
  fc
    .tuple(fc.constantFrom('udp' as const, 'sctp' as const), anyComparison, fc.nat(255))
    .map(([owner, is, value]) => behindIp(owner, 1, `${is} ${value}`)),
);

const anyFilter = fc.letrec<{ filter: Primitive }>((tie) => ({
  filter: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    anyPrimitive,
    fc
      .tuple(tie('filter'), fc.constantFrom(' and ', ' or ', ' && ', ' || '), tie('filter'))
      .map(
        ([left, word, right]): Primitive => [left[0] + word + right[0], left[1] + word + right[1]],
      ),
    tie('filter').map(([ours, theirs]): Primitive => [`not (${ours})`, `not (${theirs})`]),
    tie('filter').map(([ours, theirs]): Primitive => [`(${ours})`, `(${theirs})`]),
    anyPrimitive.map(([ours, theirs]): Primitive => [`! ${ours}`, `! ${theirs}`]),
  ),
})).filter;

test('it fits what it fits with tcpdump', () => {
  const frames = fc.sample(anyFrame, FRAMES);
  let some = 0;
  fc.assert(
    fc.property(anyFilter, ([ours, theirs]) => {
      const found = fitting(ours, frames);
      assert.deepEqual(found, fittingToTcpdump(theirs, frames));
      if (found.length > 0 && found.length < FRAMES) some++;
    }),
    { numRuns: FILTERS },
  );
  assert.ok(some > FILTERS / 4, `only ${some} filters told frames apart`);
});

test('a value without words of its own takes those of the one before', () => {
  const frames = fc.sample(anyFrame, { numRuns: FRAMES, seed: 1 });
  for (const text of [
    'host 10.0.0.1 or 10.0.0.2',
    'tcp dst port 80 or 443',
    'src net 10.0.0.0/16 or 192.168.0.0/16 and not 10.0.0.2/31',
    'ip proto 6 or 17',
  ]) {
    const found = fitting(text, frames);
    assert.deepEqual(found, fittingToTcpdump(text, frames), text);
    assert.ok(found.length > 0 && found.length < FRAMES, text);
  }
});

test('without a filter everything fits', () => {
  const frames = fc.sample(anyFrame, { numRuns: 10, seed: 1 });
  assert.equal(fitting('', frames).length, 10);
});

test('a field that is not there fits nothing, whatever it is compared with', () => {
  const whole = ethernet().ipv4().tcp({ flags: 'S' }).build();
  for (let length = 0; length <= whole.length; length++) {
    const cut = whole.subarray(0, length);
    const isThere = length > 47;
    assert.deepEqual(fitting('tcp[13] = 2', [cut]), isThere ? [0] : [], `${length} bytes`);
    assert.deepEqual(fitting('tcp[13] != 3', [cut]), isThere ? [0] : [], `${length} bytes`);
    assert.deepEqual(fitting('not tcp', [cut]), length > 23 ? [] : [0], `${length} bytes`);
  }
});

test('what makes no sense is refused: the word, its place, what is allowed', () => {
  const refusals: readonly (readonly [string, RegExp])[] = [
    ['host web1', /character 6: "web1"; an IPv4 or IPv6 address is allowed \(no name\)$/],
    ['ip host fd00::1', /character 9: "fd00::1"; an IPv4 address is allowed/],
    ['tcp host 10.0.0.1', /character 5: "host"; host goes with ip or ip6, or stands alone/],
    ['tcp and', /character 8: the filter ends; allowed are host, net, port/],
    ['tcp udp', /character 5: "udp"; allowed are and, or, or the end$/],
    ['(tcp or udp', /character 12: the filter ends; "\)" is allowed$/],
    ['port 65536', /character 6: "65536"; a port is allowed: 0 to 65535, or a name$/],
    ['portrange 90-80', /character 11: "90-80"; FIRST-LAST of ports/],
    ['net 10.1.0.0/8', /character 5: "10.1.0.0\/8"; there are bits behind the mask$/],
    ['net fd00::1/64', /character 5: "fd00::1\/64"; there are bits behind \/64$/],
    ['tcp[13:3] = 1', /character 5: "13:3"; an offset from 0 to 4095/],
    ['tcp[13] ~ 1', /character 9: "~" has no meaning here$/],
    ['tcp[13] constructor 1', /character 9: "constructor"; allowed are & and =/],
    ['proto constructor', /character 7: "constructor"; 0 to 255 are allowed$/],
    ['constructor', /character 1: "constructor"; allowed are host/],
    ['ether 02:00:00:00:00:01', /character 7: "02:00:00:00:00:01"; allowed are host, src, dst/],
    [`${'('.repeat(102)}tcp`, /not and \( go 100 deep at most$/],
    ['x'.repeat(5000), /5000 characters; 4096 are allowed$/],
  ];
  for (const [text, message] of refusals) {
    assert.throws(() => compileFilter(parseFilter(text)), { name: 'FilterError', message });
  }
});

test('a filter that takes too many steps is refused', () => {
  const hosts = Array.from({ length: 250 }, (_, at) => `::${at.toString(16)}`).join(' or ');
  assert.throws(() => compileFilter(parseFilter(`host ${hosts}`)), {
    name: 'FilterError',
    message: new RegExp(`takes \\d+ steps; ${TRACE_INSTRUCTIONS_MAX - 1} are allowed$`),
  });
});
