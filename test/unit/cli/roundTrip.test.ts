/**
 * Saved and restored: whatever table the grammar can make comes back from `-Sn` and `-R` as it was,
 * but for what is not saved; with names from the system's own files as well as in numbers.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { ToolIo } from '#xvs/cli/io';
import { runXvsadm } from '#xvs/cli/xvsadm';
import { Director } from '#xvs/control/director';
import { listServices } from '#xvs/control/listing';
import { AdminSocket } from '#xvs/control/socket';
import { attachTables, createMemory } from '#xvs/table/memory';

const MARK_MAX = 2 ** 31 - 1;
let folder = '';
let admin: AdminSocket;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'xvs-round-'));
  const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
  const director = new Director(attachTables(memory, () => {}));
  admin = new AdminSocket(join(folder, 'xvs.sock'), {
    services: () => listServices(director),
    connections: async () => new TextEncoder().encode('{"connections":[]}'),
    timeouts: () => director.timeouts,
    execute: (command) => director.execute(command),
  });
  await admin.open();
});
after(async () => {
  await admin.close();
  rmSync(folder, { recursive: true, force: true });
});

async function tool(line: string, input = ''): Promise<string> {
  let stdout = '';
  let stderr = '';
  const io: ToolIo = {
    program: 'xvsadm',
    environment: { XVS_SOCKET: admin.path },
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
    stdin: () => input,
  };
  const status = await runXvsadm(line.split(' '), io);
  assert.deepEqual([status, stderr], [0, ''], line);
  return stdout;
}

const byte = fc.integer({ min: 1, max: 250 });
const port = fc.integer({ min: 1, max: 65535 });
const ipv4 = fc.tuple(byte, byte).map(([third, fourth]) => `10.1.${third}.${fourth}`);
const ipv6 = byte.map((group) => `[fd00::${group.toString(16)}]`);
/** A service's options, and whether its servers are IPv6. */
const service = fc.oneof(
  fc
    .tuple(fc.constantFrom('-t', '-u', '--sctp-service'), ipv4, port)
    .map(([option, address, at]) => ({ text: `${option} ${address}:${at}`, family: 4 })),
  fc
    .tuple(fc.constantFrom('-t', '-u', '--sctp-service'), ipv6, port)
    .map(([option, address, at]) => ({ text: `${option} ${address}:${at}`, family: 6 })),
  fc.integer({ min: 1, max: MARK_MAX }).map((mark) => ({ text: `-f ${mark}`, family: 4 })),
  fc.integer({ min: 1, max: MARK_MAX }).map((mark) => ({ text: `-f ${mark} -6`, family: 6 })),
);
const scheduler = fc.constantFrom(
  ...['rr', 'wrr', 'lc', 'wlc', 'lblc', 'lblcr', 'dh', 'sed', 'nq', 'fo', 'ovf', 'twos'],
  ...['sh', 'sh -b sh-fallback', 'sh -b sh-fallback,sh-port', 'mh -b mh-port', 'rr -b flag-3'],
);
const method = fc.constantFrom(
  ...['-m', '-g', '-i', '-i --tun-type gre --tun-csum', '-i --tun-type gue --tun-port 6080'],
  '-i --tun-type gue --tun-port 7 --tun-remcsum',
);
const table = fc.uniqueArray(
  fc.record({
    service,
    scheduler,
    persistent: fc.option(fc.tuple(fc.integer({ min: 1, max: 2678400 }), fc.boolean())),
    servers: fc.uniqueArray(
      fc.tuple(byte, port, method, fc.integer({ min: 0, max: 2 ** 31 - 1 })),
      {
        maxLength: 4,
        selector: ([host]) => host,
      },
    ),
  }),
  { maxLength: 6, selector: (one) => one.service.text },
);

test('what -Sn says is the table again, restored', async () => {
  await fc.assert(
    fc.asyncProperty(table, async (wanted) => {
      await tool('-C');
      for (const { service: one, scheduler: name, persistent, servers } of wanted) {
        let line = `-A ${one.text} -s ${name}`;
        if (persistent !== null) {
          line += ` -p ${persistent[0]}`;
          if (persistent[1]) line += one.family === 6 ? ' -M 64' : ' -M 255.255.0.0';
        }
        await tool(line);
        for (const [host, at, how, weight] of servers) {
          const address = one.family === 6 ? `[fd00:2::${host.toString(16)}]` : `10.2.2.${host}`;
          await tool(`-a ${one.text} -r ${address}:${at} ${how} -w ${weight}`);
        }
      }
      const saved = await tool('-Sn');
      const listing = await tool('-Ln --tun-info');
      await tool('-C');
      assert.equal(await tool('-Sn'), '');
      await tool('-R', saved);
      assert.equal(await tool('-Sn'), saved);
      assert.equal(await tool('-Ln --tun-info'), listing);
    }),
    { numRuns: 40 },
  );
});

test('names of the system’s files go out and come back', async () => {
  await tool('-C');
  await tool('-A -t localhost:http -s rr');
  await tool('-a -t localhost:http -r localhost:domain -m');
  await tool('-A -u 127.0.0.1:domain -s rr');
  const numbers = await tool('-Sn');
  assert.equal(
    numbers,
    '-A -t 127.0.0.1:80 -s rr\n-a -t 127.0.0.1:80 -r 127.0.0.1:53 -m -w 1\n' +
      '-A -u 127.0.0.1:53 -s rr\n',
  );
  const names = await tool('-S');
  assert.match(names, /^-A -t localhost\S*:http -s rr\n-a -t \S+:http -r localhost\S*:domain -m/);
  await tool('-C');
  await tool('-R', names);
  assert.equal(await tool('-Sn'), numbers);
  assert.match(await tool('-L'), /^TCP {2}localhost\S*:http rr$/m);
  await tool('-C');
});
