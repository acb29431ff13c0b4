/**
 * UDP datagrams without a checksum, shorter than the IP packet they come in. Their checksum would
 * cover the datagram alone: one over all that the packet holds would be wrong, so they get none.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../../support/decode';
import { ethernet } from '../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  Simulation,
  serverAddress,
  serverAddress6,
  VIP,
  VIP6,
} from '../../support/simulation';

const DATAGRAM_BYTES = 8 + 5;

for (const family of [4, 6] as const) {
  for (const method of ['nat', 'fullnat'] as const) {
    test(`IPv${family}, ${method}: a datagram without that ends before its packet`, () => {
      const simulation = new Simulation();
      const address = family === 4 ? VIP : VIP6;
      const service = simulation.addService({ family, protocol: 'udp', address });
      const server = family === 4 ? serverAddress(1) : serverAddress6(1);
      simulation.addServer(service, server, 8000, { method });
      if (method === 'fullnat') {
        const local = family === 4 ? '10.0.2.1' : 'fd00:2::1';
        simulation.director.execute({ command: 'add-local-address', service, address: local });
      }
      const start = family === 4 ? ethernet().ipv4() : ethernet().ipv6();
      const frame = start
        .udp({ checksum: 0, length: DATAGRAM_BYTES })
        .payload('hello, and more')
        .build();
      // The first one makes the connection, the second finds it.
      for (let round = 0; round < 2; round++) {
        const { sent } = simulation.receive(CLIENT_SIDE, frame);
        assert.equal(sent[SERVER_SIDE].length, 1);
        const fields = decode(sent[SERVER_SIDE][0]!);
        assert.equal(fields['udp.destination'], 8000);
        assert.equal(fields['udp.length'], DATAGRAM_BYTES);
        assert.equal(fields['udp.checksum'], 0);
      }
    });
  }
}
