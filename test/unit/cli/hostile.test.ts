/**
 * Hostile and borderline arguments, through the whole tool to a real director: what ipvsadm
 * refuses is refused with its words and its status, and changes nothing.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ToolIo } from '#xvs/cli/io';
import { NUMERIC_NAMES, systemNames } from '#xvs/cli/names';
import { runXvsadm } from '#xvs/cli/xvsadm';
import { Director } from '#xvs/control/director';
import { listServices } from '#xvs/control/listing';
import { AdminSocket } from '#xvs/control/socket';
import { attachTables, createMemory } from '#xvs/table/memory';
import { RECORDED_SOURCE } from '../../support/cliGolden';

const SERVICE = 'illegal virtual server address[:port] specified\n';
const SERVER = 'illegal real server address[:port] specified\n';
const ZERO_PORT = 'Zero port specified for non-persistent service\n';
const INVALID = 'Invalid operation.  Possibly wrong module version, address not unicast, ...\n';
const LONG = 'x'.repeat(4096);

/** Address of a new service: what is said, or the row of the listing. */
const SERVICES: readonly (readonly [string, string])[] = [
  ['10.1.1.1:80', 'TCP  10.1.1.1:80 '],
  ['1.2.3:80', 'TCP  1.2.0.3:80 '],
  ['1.2:80', 'TCP  1.0.0.2:80 '],
  ['16909060:80', 'TCP  1.2.3.4:80 '],
  ['0x01020304:80', 'TCP  1.2.3.4:80 '],
  ['010.0.0.1:80', 'TCP  8.0.0.1:80 '],
  ['1.2.3.4 and more:80', 'TCP  1.2.3.4:80 '],
  ['10.1.1.1:+80', 'TCP  10.1.1.1:80 '],
  ['10.1.1.1: 80', 'TCP  10.1.1.1:80 '],
  ['10.1.1.1:0080', 'TCP  10.1.1.1:80 '],
  ['10.1.1.1:65535', 'TCP  10.1.1.1:65535 '],
  ['[::1]:80', 'TCP  [::1]:80 '],
  ['[0:0:0:0:0:0:0:1]:80', 'TCP  [::1]:80 '],
  ['[::FFFF:1.2.3.4]:80', 'TCP  [::ffff:1.2.3.4]:80 '],
  ['[2001:DB8::0:1]:http', 'TCP  [2001:db8::1]:80 '],
  ['', SERVICE],
  ['80', SERVICE],
  ['١٢:80', SERVICE],
  ['１０.0.0.1:80', SERVICE],
  ['10.0.0.１:80', SERVICE],
  ['10。0。0。1:80', SERVICE],
  ['10.0.0.1:８０', SERVICE],
  ['ｌocalhost:80', SERVICE],
  ['10.0.0.1\0:80', SERVICE],
  ['\0', SERVICE],
  [':80', SERVICE],
  ['10.1.1.1:', SERVICE],
  ['10.1.1.1:65536', SERVICE],
  ['10.1.1.1:-1', SERVICE],
  ['10.1.1.1:80 ', SERVICE],
  ['10.1.1.1:80\n', SERVICE],
  ['10.1.1.1:99999999999999999999', SERVICE],
  ['10.1.1.1:0x50', SERVICE],
  ['10.1.1.1:8e1', SERVICE],
  [' 10.1.1.1:80', SERVICE],
  ['256.1.1.1:80', SERVICE],
  ['1.2.3.4.5:80', SERVICE],
  ['4294967296:80', SERVICE],
  ['-1:80', SERVICE],
  ['10.1.1.1%eth0:80', SERVICE],
  ['fe80::1%eth0', SERVICE],
  ['[fe80::1%eth0]:80', SERVICE],
  ['[::1]', SERVICE],
  ['[::1', SERVICE],
  ['[]:80', SERVICE],
  ['[::1]80', SERVICE],
  ['::1::2', SERVICE],
  [LONG, SERVICE],
  [`${LONG}:80`, SERVICE],
  [`10.1.1.1:${LONG}`, SERVICE],
  ['::1', ZERO_PORT],
  ['10.1.1.1', ZERO_PORT],
  ['10.1.1.1:0', ZERO_PORT],
  ['[10.1.1.1]:80', ZERO_PORT],
];

/** Address of a new server of 10.9.9.9:80, with NAT. */
const SERVERS: readonly (readonly [string, string])[] = [
  ['10.2.2.2:81', '  -> 10.2.2.2:81 '],
  ['10.2.2.2', '  -> 10.2.2.2:80 '],
  ['240.0.0.1:80', '  -> 240.0.0.1:80 '],
  ['0.0.0.5:80', '  -> 0.0.0.5:80 '],
  ['127.0.0.1:80', '  -> 127.0.0.1:80 '],
  ['0.0.0.0:80', INVALID],
  ['224.0.0.1:80', INVALID],
  ['239.255.255.255:80', INVALID],
  ['255.255.255.255:80', INVALID],
  ['１０.0.0.1', SERVER],
  ['10.2.2.2:65536', SERVER],
  ['', SERVER],
  [LONG, SERVER],
  ['::1', 'Different address family is allowed only for tunneling servers\n'],
];
/** The same of [fd00::9]:80. */
const SERVERS6: readonly (readonly [string, string])[] = [
  ['[fd00::1]:81', '  -> [fd00::1]:81 '],
  ['::1', '  -> [::1]:80 '],
  ['::1.2.3.4', '  -> [::1.2.3.4]:80 '],
  ['fec0::1', '  -> [fec0::1]:80 '],
  ['::', INVALID],
  ['ff02::1', INVALID],
  ['fe80::1', INVALID],
  ['febf::1', INVALID],
  ['::ffff:10.0.0.1', INVALID],
  ['fe80::1%eth0', SERVER],
];

/** Numbers of a new server and of a new service, after the option. */
const NUMBERS: readonly (readonly [string, string, string])[] = [
  ['-w', '2147483648', 'illegal weight specified\n'],
  ['-w', '-1', 'illegal weight specified\n'],
  ['-w', '', 'illegal weight specified\n'],
  ['-w', '1.5', 'illegal weight specified\n'],
  ['-w', '１', 'illegal weight specified\n'],
  ['-w', '1\0', 'illegal weight specified\n'],
  ['-w', '99999999999999999999999', 'illegal weight specified\n'],
  ['-x', '-1', 'illegal u_threshold specified\n'],
  ['-x', '2147483648', 'illegal u_threshold specified\n'],
  ['-y', '0x1', 'illegal l_threshold specified\n'],
  ['-y', '5', 'Numerical result out of range\n'],
];
const PERSISTENCE: readonly (readonly [string, string, string])[] = [
  ['-p', '0', "invalid timeout value `0' specified\n"],
  ['-p', '2678401', "invalid timeout value `2678401' specified\n"],
  ['-p', '', "invalid timeout value `' specified\n"],
  ['-p', '１', "invalid timeout value `１' specified\n"],
  ['-M', '', 'illegal virtual server persistent mask specified\n'],
  ['-M', '255.255.255.0.0', 'illegal virtual server persistent mask specified\n'],
  ['-M', '２４', 'illegal virtual server persistent mask specified\n'],
  ['-s', LONG, 'Scheduler or persistence engine not found\n'],
  ['-s', 'RR', 'Scheduler or persistence engine not found\n'],
  ['-s', '__proto__', 'Scheduler or persistence engine not found\n'],
  ['-s', 'constructor', 'Scheduler or persistence engine not found\n'],
  ['-b', '__proto__', "invalid scheduler flag `__proto__'\n"],
];

describe('hostile arguments', () => {
  let folder = '';
  let admin: AdminSocket;
  let director: Director;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'xvs-hostile-'));
    const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
    director = new Director(attachTables(memory, () => {}));
    admin = new AdminSocket(join(folder, 'xvs.sock'), {
      services: () => listServices(director),
      connections: async () => new TextEncoder().encode('{"connections":[]}'),
      timeouts: () => director.timeouts,
      execute: (command) => director.execute(command),
    });
    await admin.open();
    await tool(['-A', '-t', '10.9.9.9:80', '-s', 'rr']);
    await tool(['-A', '-t', '[fd00::9]:80', '-s', 'rr']);
  });
  after(async () => {
    await admin.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Names beyond ASCII go the way of the system's names, which asks nobody for them. */
  async function tool(words: readonly string[], input = '') {
    const system = systemNames(new Map());
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
      names: {
        source: {
          hostAddress: (name) =>
            (/^[ -~]*$/.test(name) ? RECORDED_SOURCE : system).hostAddress(name),
          servicePort: (name, protocol) => RECORDED_SOURCE.servicePort(name, protocol),
        },
        view: NUMERIC_NAMES,
      },
    };
    const status = await runXvsadm(words, io);
    return { status, stdout, stderr };
  }

  /** Adds, looks, deletes again; or is refused, and nothing has changed. */
  async function check(
    add: readonly string[],
    remove: readonly string[],
    expected: string,
  ): Promise<void> {
    const list = async () => (await tool(['-Ln'])).stdout;
    const before = await list();
    const { status, stdout, stderr } = await tool(add);
    const isRow = !expected.endsWith('\n');
    if (isRow) {
      assert.deepEqual([status, stdout, stderr], [0, '', '']);
      const rows = (await list()).split('\n').filter((row) => row.startsWith(expected));
      assert.equal(rows.length, 1, `"${expected}" in\n${await list()}`);
      assert.equal((await tool(remove)).status, 0);
    } else {
      const isBackend = expected === INVALID || /^(Sched|Numerical)/.test(expected);
      assert.deepEqual([status, stdout, stderr], [isBackend ? 255 : 2, '', expected]);
    }
    assert.equal(await list(), before);
  }

  const shown = (text: string) =>
    JSON.stringify(text.length > 60 ? `${text.slice(0, 20)}...` : text);
  for (const [text, expected] of SERVICES) {
    test(`-t ${shown(text)}`, () =>
      check(['-A', '-t', text, '-s', 'rr'], ['-D', '-t', text], expected));
  }
  for (const [service, cases] of [
    ['10.9.9.9:80', SERVERS],
    ['[fd00::9]:80', SERVERS6],
  ] as const) {
    const at = ['-t', service];
    for (const [text, expected] of cases) {
      test(`-t ${service} -r ${shown(text)}`, () =>
        check(['-a', ...at, '-r', text, '-m'], ['-d', ...at, '-r', text], expected));
    }
  }
  for (const [option, text, expected] of NUMBERS) {
    const words = ['-a', '-t', '10.9.9.9:80', '-r', '10.2.2.2:80', '-m', option, text];
    test(`${option} ${shown(text)}`, () => check(words, [], expected));
  }
  for (const [option, text, expected] of PERSISTENCE) {
    const words = ['-A', '-t', '10.1.1.1:80', option, text];
    test(`${option} ${shown(text)}`, () => check(words, [], expected));
  }

  test('full tables: said so, and a restore goes on after it', async () => {
    const { realServers, services } = director.tables;
    const record = { family: 4, address: new Int32Array(4), port: 1 };
    const servers: number[] = [];
    while (realServers.freeCount > 0) servers.push(realServers.create(1, record));
    const taken: number[] = [];
    for (let number = 1; services.freeCount > 0; number++) {
      const address = Int32Array.of(number, 0, 0, 0);
      const fields = { family: 4, protocol: 17, address, port: 9, fwmark: 0 };
      taken.push(services.create(fields, 0));
    }
    const full = { status: 255, stdout: '', stderr: 'Memory allocation problem\n' };
    const before = (await tool(['-Ln'])).stdout;
    assert.deepEqual(await tool(['-A', '-t', '10.1.1.1:80']), full);
    assert.deepEqual(await tool(['-a', '-t', '10.9.9.9:80', '-r', '10.2.2.77:80', '-m']), full);
    const rules = [
      '-A -t 10.1.1.1:80',
      '-a -t 10.1.1.1:80 -r 10.2.2.77',
      '-E -t 10.9.9.9:80 -s wrr',
    ];
    const restored = await tool(['-R'], rules.map((rule) => `${rule}\n`).join(''));
    assert.deepEqual(restored, {
      ...{ status: 0, stdout: '' },
      stderr: 'Memory allocation problem\nService not defined\n',
    });
    assert.equal((await tool(['-Ln'])).stdout, before.replace('10.9.9.9:80 rr', '10.9.9.9:80 wrr'));
    for (const slot of servers) realServers.free(slot);
    for (const slot of taken) services.remove(slot);
    assert.equal((await tool(['-A', '-t', '10.1.1.1:80'])).status, 0);
    for (const line of ['-D -t 10.1.1.1:80', '-E -t 10.9.9.9:80 -s rr'])
      await tool(line.split(' '));
  });

  test('thresholds are looked at before the server is, as IPVS does', async () => {
    const at = ['-t', '10.9.9.9:80', '-r', '10.2.2.2:80', '-m'];
    assert.equal((await tool(['-a', ...at])).status, 0);
    for (const command of ['-a', '-e']) {
      const { stderr } = await tool([command, ...at, '-x', '1', '-y', '2']);
      assert.equal(stderr, 'Numerical result out of range\n');
    }
    const unknown = await tool(['-e', '-t', '10.9.9.9:80', '-r', '10.2.2.3:80', '-m', '-y', '2']);
    assert.equal(unknown.stderr, 'Numerical result out of range\n');
    assert.equal((await tool(['-d', '-t', '10.9.9.9:80', '-r', '10.2.2.2:80'])).status, 0);
  });
});
