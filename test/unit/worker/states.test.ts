/**
 * Every state of the TCP table (NONE: begun by an ICMP error), left by every event, in packets that
 * go through the pipeline: both families, NAT both ways and DR. The table itself is held against
 * IPVS's in table/state.test.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONNECTION, CONNECTION_ACTIVE } from '#xvs/table/connection';
import {
  DIRECTION_IN,
  DIRECTION_IN_ONLY,
  DIRECTION_OUT,
  isActiveState,
  NONE,
  nextTcpState,
  STATE_NAMES,
  SYNACK,
} from '#xvs/table/state';
import { ethernet, tcpFlagBits } from '../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  Simulation,
  serverAddress,
  serverAddress6,
  VIP,
  VIP6,
} from '../../support/simulation';

const AT = CONNECTION.at;
const STATE_BITS = 0xff | CONNECTION_ACTIVE;
const EVENTS = ['S', 'SA', 'FA', 'A', 'PA', 'R', 'RA', ''];
const WAYS = [
  { name: 'in', direction: DIRECTION_IN, method: 'nat' },
  { name: 'out', direction: DIRECTION_OUT, method: 'nat' },
  { name: 'in only', direction: DIRECTION_IN_ONLY, method: 'dr' },
] as const;

for (const family of [4, 6] as const) {
  const client = family === 4 ? '10.0.1.100' : 'fd00:1::100';
  const vip = family === 4 ? VIP : VIP6;
  const server = family === 4 ? serverAddress(1) : serverAddress6(1);

  for (const { name, direction, method } of WAYS) {
    for (const secure of [0, 1]) {
      test(`IPv${family}, ${name}${secure ? ', secure_tcp' : ''}: all states, all events`, () => {
        const simulation = new Simulation();
        const key = { family, address: vip } as const;
        const service = simulation.addService(key, family === 6 ? { netmask: '128' } : {});
        simulation.addServer(service, server, 8000, { method });
        const { settings, connections, realServers } = simulation.tables;
        // A SYN in TIME_WAIT or CLOSE would begin a connection of its own.
        settings.set('connReuseMode', 0);
        settings.set('secureTcp', secure);
        const slot = simulation.serverSlot(service, server);
        const frame = (flags: string, outward: boolean): Uint8Array => {
          const [source, destination] = outward ? [server, client] : [client, vip];
          const start = ethernet();
          if (family === 4) start.ipv4({ source, destination });
          else start.ipv6({ source, destination });
          return start
            .tcp(
              outward
                ? { source: 8000, destination: 40001, flags }
                : { source: 40001, destination: 80, flags },
            )
            .build();
        };
        simulation.receive(CLIENT_SIDE, frame('S', false));
        const entry = 1;
        const word = (entry << 4) + AT.state;
        let walked = 0;
        for (let state = NONE; state <= SYNACK; state++) {
          for (const flags of EVENTS) {
            const isActive = realServers.active(slot) === 1;
            if (isActive !== isActiveState(state)) realServers.move(slot, !isActive);
            const active = isActiveState(state) ? CONNECTION_ACTIVE : 0;
            connections.entries[word] = (connections.entries[word]! & ~STATE_BITS) | state | active;
            const outward = direction === DIRECTION_OUT;
            simulation.receive(outward ? SERVER_SIDE : CLIENT_SIDE, frame(flags, outward));
            const next = nextTcpState(direction, tcpFlagBits(flags), state, secure);
            const [listed] = simulation.connections();
            const what = `${flags} in ${STATE_NAMES[state]}`;
            assert.equal(listed!.state, STATE_NAMES[next], what);
            assert.equal(listed!.expiresSeconds * 10, settings.timeouts[next], what);
            const counts = [realServers.active(slot), realServers.inactive(slot)];
            assert.deepEqual(counts, isActiveState(next) ? [1, 0] : [0, 1], what);
            walked++;
          }
        }
        assert.equal(walked, 11 * EVENTS.length);
        assert.deepEqual(simulation.verdicts(), {});
      });
    }
  }
}
