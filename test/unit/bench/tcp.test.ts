/**
 * The tcp bench's generator against servers that are right, slow or wrong, and what the bench makes
 * of its words and of the options. The servers are this process's own, on the loopback interface.
 */
import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { runCommand } from '#xvs/lab/process';
import { benchModule } from '../../support/benchReport';

const BODY_BYTES = 100;
const BODY = 'abcdefghijklmnopqrstuvw'.repeat(5).slice(0, BODY_BYTES);
const RIGHT = `HTTP/1.1 200 OK\r\nContent-Length: ${BODY_BYTES}\r\n\r\n${BODY}`;

interface Outcome {
  readonly responsesPerSecond: number;
  readonly bitsPerSecond: number;
  readonly latencies: Readonly<Record<string, number>> | null;
}
interface Printed {
  readonly responses: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly max: number;
  readonly latencies: readonly (readonly [number, number])[];
}

const { readOutcome } = benchModule<{ readOutcome(line: string): Outcome }>('tcp/outcome');
const { compileProgram } = benchModule<{ compileProgram(source: string): string }>(
  'support/compile',
);
const { Options } = benchModule<{
  Options: new (declared: unknown, argv: readonly string[]) => object;
}>('support/options');
const { OPTIONS, readSettings } = benchModule<{
  OPTIONS: unknown;
  readSettings(options: object): Readonly<Record<string, unknown>>;
}>('tcp/settings');

function printed(changes: Partial<Printed> = {}): string {
  const faults = { refused: 0, reset: 0, closedEarly: 0, wrong: 0, unanswered: 0 };
  const line = { responses: 2, bytes: 200, seconds: 0.5, faults, max: 9000, latencies: [] };
  return JSON.stringify({ ...line, ...changes });
}

describe('what the generator says', () => {
  test('rates are per second, latencies in microseconds, the maximum is exact', () => {
    const latencies = [
      [1000, 990],
      [5003, 9],
      [9007, 1],
    ] as const;
    const outcome = readOutcome(printed({ latencies, max: 9007 }));
    assert.equal(outcome.responsesPerSecond, 4);
    assert.equal(outcome.bitsPerSecond, 3200);
    const { p50, p99, 'p99.9': p999, max } = outcome.latencies!;
    assert.ok(Math.abs(p50! - 1) < 0.001 && Math.abs(p99! - 1) < 0.001, `${p50} ${p99}`);
    assert.ok(Math.abs(p999! - 5.003) < 0.005, `${p999}`);
    assert.equal(max, 9.007);
  });

  test('one fault is enough, and is named', () => {
    const faults = { refused: 0, reset: 1, closedEarly: 0, wrong: 3, unanswered: 0 };
    assert.throws(() => readOutcome(printed({ faults })), /beside 2 right .*reset 1, wrong 3$/);
  });
});

describe('the generator', () => {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers.splice(0)) server.close();
  });

  /** Answers the nth request of a connection. */
  async function listen(answer: (socket: Socket, number: number) => void): Promise<number> {
    const server = createServer((socket) => {
      let requests = 0;
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
      socket.on('data', () => answer(socket, ++requests));
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as { port: number }).port;
  }

  async function generate(port: number, ...words: string[]): Promise<string> {
    const program = compileProgram('bench/tcp/generator.c');
    const fixed = ['--address', '127.0.0.1', '--port', String(port), '--bytes', `${BODY_BYTES}`];
    const times = ['--lead', '0.05', '--seconds', '0.25'];
    const { status, stdout, stderr } = await runCommand([program, ...fixed, ...times, ...words]);
    assert.equal(status, 0, stderr);
    const [begin, end, line = ''] = stdout.split('\n');
    assert.deepEqual([begin, end], ['begin', 'end']);
    return line;
  }

  const countOf = ({ latencies }: Printed) =>
    latencies.reduce((total, [, count]) => total + count, 0);

  test('closed loop: each response counts once, on open connections', async () => {
    const port = await listen((socket) => socket.write(RIGHT));
    const line = await generate(port, '--connections', '3');
    const said = JSON.parse(line) as Printed;
    assert.ok(readOutcome(line).responsesPerSecond > 0);
    assert.equal(countOf(said), said.responses);
    assert.equal(said.latencies.at(-1)?.[0], said.max);
  });

  test('a connection for each request ends with the server', async () => {
    let most = 0;
    const port = await listen((socket, number) => {
      most = Math.max(most, number);
      socket.end(RIGHT);
    });
    const line = await generate(port, '--connections', '3', '--fresh', '1');
    assert.ok(readOutcome(line).responsesPerSecond > 0);
    assert.equal(most, 1);
  });

  test('a body in pieces is the same body', async () => {
    const port = await listen((socket) => {
      socket.write(RIGHT.slice(0, 20));
      setTimeout(() => socket.write(RIGHT.slice(20, 90)), 5);
      setTimeout(() => socket.write(RIGHT.slice(90)), 10);
    });
    assert.ok(readOutcome(await generate(port)).responsesPerSecond > 0);
  });

  test('open loop: what is due while a server stalls counts from when it was due', async () => {
    const STALL_MS = 200;
    let stalled = false;
    const port = await listen((socket) => {
      setTimeout(() => socket.write(RIGHT), stalled ? 0 : STALL_MS);
      stalled = true;
    });
    const line = await generate(port, '--rate', '400', '--lead', '0');
    const said = JSON.parse(line) as Printed;
    assert.equal(countOf(said), 100, 'all that was due within 0.25 s, no more and no less');
    const late = said.latencies.filter(([nanoseconds]) => nanoseconds >= (STALL_MS / 2) * 1e6);
    const lateCount = late.reduce((total, [, count]) => total + count, 0);
    assert.ok(lateCount >= STALL_MS * 0.4 * 0.5, `${lateCount} of those due in the stall are late`);
    assert.ok(said.max >= (STALL_MS - 1) * 1e6, `longest ${said.max} ns`);
  });

  const WRONG: Readonly<Record<string, (socket: Socket) => void>> = {
    wrong: (socket) => socket.write(RIGHT.replace('efg', 'eXg')),
    closedEarly: (socket) => socket.end(RIGHT.slice(0, -1)),
    reset: (socket) => socket.resetAndDestroy(),
  };
  for (const [kind, answer] of Object.entries(WRONG)) {
    test(`${kind} fails the measurement`, async () => {
      const line = await generate(await listen(answer));
      assert.throws(() => readOutcome(line), new RegExp(`${kind} 1$`));
    });
  }

  test('another status, a longer body and a closed port fail it', async () => {
    const longer = RIGHT.replace(`: ${BODY_BYTES}`, `: ${BODY_BYTES + 1}`);
    for (const response of [RIGHT.replace('200', '404'), longer, `${RIGHT}x`]) {
      const port = await listen((socket) => socket.write(response));
      const line = await generate(port);
      assert.throws(() => readOutcome(line), /wrong 1|closedEarly 1/, response);
    }
    const port = await listen(() => undefined);
    await new Promise((resolve) => servers.pop()?.close(resolve));
    const line = await generate(port);
    assert.throws(() => readOutcome(line), /refused 1$/);
  });
});

describe('options', () => {
  const settingsOf = (...words: string[]) => readSettings(new Options(OPTIONS, words));

  test('a rate that is not given is to be found, but not in a quick run', () => {
    assert.deepEqual(settingsOf()['rates'], { requests: 0, connect: 0 });
    const given = settingsOf('--requests-rate', '300')['rates'];
    assert.deepEqual(given, { requests: 300, connect: 0 });
    const quick = settingsOf('--quick', '--connect-rate', '7')['rates'] as Record<string, number>;
    assert.equal(quick['connect'], 7);
    assert.ok(quick['requests']! > 0);
  });

  test('a full run has ten rounds, and what is not known is refused', () => {
    assert.equal(settingsOf()['rounds'], 10);
    assert.throws(() => settingsOf('--offloads', 'lro'), /'lro' is not one of tso, gro, off/);
    assert.throws(() => settingsOf('--methods', 'tunnel'), /'tunnel' is not one of/);
  });
});
