/** What `xvs doctor` reads of other programs and of the kernel's files. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseOffloads, parseRings, parseRssShares } from '#xvs/control/doctor/gather/ethtool';
import { parseLinks, parseRoutes } from '#xvs/control/doctor/gather/iproute';
import { parseGeneric } from '#xvs/control/doctor/gather/netdevFeatures';
import { cpuList, netstatCounter, socketPeers } from '#xvs/control/doctor/gather/procfs';

test('ethtool -g', () => {
  const text = `Ring parameters for eth0:
Pre-set maximums:
RX:\t\t4096
RX Mini:\tn/a
TX:\t\t4096
Current hardware settings:
RX:\t\t512
RX Mini:\tn/a
TX:\t\t512
RX Buf Len:\t\tn/a
`;
  assert.deepEqual(parseRings(text), { rx: 512, rxMax: 4096 });
  assert.equal(parseRings('netlink error: Operation not supported\n'), null);
  assert.equal(parseRings(text.replaceAll(/\d+/g, 'n/a')), null);
});

test('ethtool -x', () => {
  const text = `RX flow hash indirection table for eth0 with 3 RX ring(s):
    0:      0     1     0     1     0     1     0     1
    8:      0     1     0     1     0     1     0     1
RSS hash key:
6d:5a:56:da
RSS hash function:
    toeplitz: on
`;
  assert.deepEqual(parseRssShares(text, 3), [8, 8, 0]);
  assert.equal(parseRssShares('RSS hash key:\nOperation not supported\n', 1), null);
});

test('ethtool -k', () => {
  const offloads = parseOffloads(`Features for eth0:
rx-checksumming: on
\ttx-checksum-ip-generic: on
large-receive-offload: off [fixed]
rx-gro-hw: on [requested off]
`);
  assert.deepEqual(Object.fromEntries(offloads), {
    'rx-checksumming': true,
    'tx-checksum-ip-generic': true,
    'large-receive-offload': false,
    'rx-gro-hw': true,
  });
});

test('ip -j -d link show', () => {
  const flags = ['BROADCAST', 'UP', 'LOWER_UP'];
  const links = parseLinks(
    JSON.stringify([
      {
        ifindex: 1,
        ifname: 'eth0',
        flags,
        mtu: 1500,
        address: '02:00:00:00:00:01',
        xdp: { mode: 1 },
      },
      {
        ifindex: 2,
        ifname: 'v0',
        link: 'v1',
        flags: ['UP'],
        mtu: 1500,
        linkinfo: { info_kind: 'veth' },
      },
      {
        ifindex: 3,
        ifname: 'eth0.5',
        link: 'eth0',
        flags,
        mtu: 1500,
        master: 'br0',
        linkinfo: { info_kind: 'vlan' },
        xdp: { mode: 2 },
      },
    ]),
  );
  assert.deepEqual(
    links.map(({ name, kind, up, parent, master, xdp }) => [name, kind, up, parent, master, xdp]),
    [
      ['eth0', '', true, '', '', 'native'],
      ['v0', 'veth', false, '', '', 'none'],
      ['eth0.5', 'vlan', true, 'eth0', 'br0', 'generic'],
    ],
  );
});

test('ip -j -batch with route get', () => {
  const text = `[{"type":"local","dst":"10.0.0.1","dev":"lo","prefsrc":"10.0.0.1"}]
[{"dst":"10.0.0.2","dev":"eth0","prefsrc":"10.0.0.1","flags":[]}]
[{"dst":"8.8.8.8","gateway":"10.0.0.9","dev":"eth0","metrics":[{"mtu":1400}]}]
[{"type":"unreachable","dst":"10.3.3.3","dev":"lo"}]
`;
  const addresses = ['10.0.0.1', '10.0.0.2', '8.8.8.8', '10.3.3.3', '10.4.4.4'];
  assert.deepEqual(Object.fromEntries(parseRoutes(text, addresses)), {
    '10.0.0.1': { kind: 'local', interface: 'lo', gateway: '', mtu: 0 },
    '10.0.0.2': { kind: 'unicast', interface: 'eth0', gateway: '', mtu: 0 },
    '8.8.8.8': { kind: 'unicast', interface: 'eth0', gateway: '10.0.0.9', mtu: 1400 },
    '10.3.3.3': { kind: 'none', interface: '', gateway: '', mtu: 0 },
    '10.4.4.4': { kind: 'none', interface: '', gateway: '', mtu: 0 },
  });
});

test('far ends of sockets', () => {
  const head = '  sl  local_address rem_address   st tx_queue rx_queue\n';
  const of = (remote: string) => socketPeers(`${head}   0: 0100007F:1F90 ${remote} 01 00000000\n`);
  assert.deepEqual(of('64FE19AC:0050'), ['172.25.254.100:80']);
  assert.deepEqual(of('00000000:0000'), []);
  assert.deepEqual(of('0000000000000000FFFF000064FE19AC:0050'), ['172.25.254.100:80']);
  assert.deepEqual(of('B80D0120000000000000000001000000:01BB'), ['[2001:db8::1]:443']);
});

test('/proc/net/netstat, lists of CPUs', () => {
  const text = 'TcpExt: A IPReversePathFilter B\nTcpExt: 1 22 3\nIpExt: A\nIpExt: 9\n';
  assert.equal(netstatCounter(text, 'TcpExt', 'IPReversePathFilter'), 22);
  assert.equal(netstatCounter(text, 'TcpExt', 'C'), 0);
  assert.deepEqual(cpuList('0-2,5'), [0, 1, 2, 5]);
  assert.deepEqual(cpuList(''), []);
});

test('generic netlink: no bytes make the reader leave the datagram', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const { attributes } of parseGeneric(bytes)) {
        for (const { byteOffset, byteLength } of attributes.values()) {
          assert.ok(byteOffset + byteLength <= bytes.byteOffset + bytes.length);
        }
      }
    }),
  );
});

test('generic netlink: an answer about one interface', () => {
  // As recorded: ifindex 4, XDP features 0x2b.
  const bytes = Buffer.from(
    '2c0000001400020002000000000000000101000008000100040000000c0003002b00000000000000',
    'hex',
  );
  bytes.writeUInt32LE(bytes.length, 0);
  const [message] = parseGeneric(bytes);
  assert.equal(message?.type, 20);
  assert.equal(message?.attributes.get(1)?.getUint32(0, true), 4);
  assert.equal(message?.attributes.get(3)?.getBigUint64(0, true), 0x2bn);
});
