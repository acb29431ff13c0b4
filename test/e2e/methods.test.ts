/**
 * Every forwarding method, IPv4 and IPv6 on the same hosts, under real traffic: requests in turn,
 * much data both ways, many connections at once, datagrams up to 60,000 bytes, a port that nobody
 * serves.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, linkSync, readFileSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { sumOf } from '../support/director';
import { RANDOM_FILE_BYTES, writeRandomFile } from '../support/file';
import {
  CLOSED_PORT,
  ECHO_PORT,
  FAMILIES,
  type Family,
  type Matrix,
  METHODS,
  startMatrices,
} from '../support/matrix';
import { whyNoNetwork } from '../support/probe';
import { mustRun } from '../support/process';

const REQUESTS = 4;
const TRANSFER_SECONDS_MAX = 60;
const WRK_CONNECTIONS = 200;
const WRK_SECONDS = 3;
const DATAGRAMS = 10_000;
/** One for each server: its socket's buffer (rmem_max) holds two of the long ones at most. */
const OUTSTANDING = 2;
const DATAGRAM_BYTES_MAX = 60_000;

const script = (name: string) => [process.execPath, join(__dirname, name)];

interface Setting {
  readonly matrices: readonly Matrix[];
  /** A file that the servers have too. */
  readonly original: string;
  readonly sha256: string;
}

function testFamily(family: Family, setting: () => Setting): void {
  let matrix: Matrix;
  let original: string;
  let sha256: string;

  before(() => {
    matrix = setting().matrices[FAMILIES.indexOf(family)]!;
    ({ original, sha256 } = setting());
  });

  test('requests are answered by the real servers in turn', async () => {
    const answers: string[] = [];
    for (let number = 0; number < REQUESTS; number++) {
      const words = ['curl', '-gsSf', '--max-time', '5', matrix.url];
      answers.push((await mustRun(matrix.client, words)).trim());
    }
    const [second, first] = matrix.servers.map((server) => server.greeting);
    assert.deepEqual(answers, [first, second, first, second]);
  });

  test('a download of 200 MB arrives as it was sent', async () => {
    const command = `curl -gsSf --max-time ${TRANSFER_SECONDS_MAX} ${matrix.url}files/random`;
    const piped = ['bash', '-o', 'pipefail', '-c', `${command} | sha256sum`];
    assert.equal((await mustRun(matrix.client, piped)).split(' ')[0], sha256);
  });

  test('an upload of 200 MB arrives as it was sent', async () => {
    const inBytes = async () =>
      sumOf(await matrix.director.metrics(), 'xvs_service_in_bytes_total');
    const before = await inBytes();
    const words = ['-gsSf', '--max-time', `${TRANSFER_SECONDS_MAX}`, '-T', original];
    await mustRun(matrix.client, ['curl', ...words, `${matrix.url}files/upload`]);
    const copies = matrix.servers
      .map((server) => join(server.files, 'upload'))
      .filter((path) => existsSync(path));
    assert.equal(copies.length, 1);
    assert.equal(createHash('sha256').update(readFileSync(copies[0]!)).digest('hex'), sha256);
    unlinkSync(copies[0]!);
    assert.ok((await inBytes()) >= before + RANDOM_FILE_BYTES);
  });

  test(`wrk with ${WRK_CONNECTIONS} connections has no failed request`, async () => {
    const words = ['-t', '2', '-c', `${WRK_CONNECTIONS}`, '-d', `${WRK_SECONDS}s`];
    const said = await mustRun(matrix.client, ['wrk', ...words, matrix.url]);
    const requests = Number(/(\d+) requests in/.exec(said)?.[1] ?? 0);
    assert.ok(requests >= WRK_CONNECTIONS, said);
    assert.doesNotMatch(said, /Socket errors|Non-2xx/, said);
  });

  test(`${DATAGRAMS} datagrams of up to ${DATAGRAM_BYTES_MAX} bytes are answered`, async () => {
    const { vip } = matrix.addresses;
    const words = [vip, ECHO_PORT, DATAGRAMS, OUTSTANDING, DATAGRAM_BYTES_MAX].map(String);
    const said = await mustRun(matrix.client, [...script('udpEchoClient.js'), ...words]);
    const expected = { sent: DATAGRAMS, answered: DATAGRAMS, late: 0, wrong: 0 };
    assert.deepEqual(JSON.parse(said), expected);
  });

  test('the client hears that nobody listens on a port', async () => {
    const words = [matrix.addresses.vip, `${CLOSED_PORT}`];
    const said = await mustRun(matrix.client, [...script('refusedUdp.js'), ...words]);
    assert.equal(said, 'ECONNREFUSED\n');
  });
}

for (const method of METHODS) {
  describe(method, { skip: whyNoNetwork() }, () => {
    let matrices: readonly Matrix[];
    let setting: Setting;

    before(async () => {
      matrices = await startMatrices({ method, families: FAMILIES, isWarmedUp: true });
      const { topology, servers } = matrices[0]!;
      const original = join(topology.directory, 'random');
      setting = { matrices, original, sha256: writeRandomFile(original) };
      for (const { files } of servers) linkSync(original, join(files, 'random'));
    });
    after(() => matrices?.[0]?.close());

    for (const family of FAMILIES) {
      describe(`IPv${family}`, () => testFamily(family, () => setting));
    }

    test('no code of a worker fell back to slower code', () => {
      assert.deepEqual(matrices[0]!.deoptimisations.take(), []);
    });
  });
}
