/**
 * The benches on the wire still work: one short round of each, with the real contenders, ends well,
 * writes figures that can be, and leaves nothing behind. What the figures are does not matter here.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Namespace } from '#xvs/lab/namespace';
import { runCommand } from '#xvs/lab/process';
import { whyNoNetwork } from '../support/probe';

const RUN = join(__dirname, '../../bench/run.js');
const BENCH_MS = 120_000;
const NAMESPACES = 'xvs-bench-';

interface Row {
  readonly name: string;
  readonly parameters: Readonly<Record<string, string | number>>;
  readonly unit: string;
  readonly min: number;
  readonly median: number;
  readonly count: number;
}

interface Outcome {
  readonly results: readonly Row[];
  readonly targets: readonly { readonly goal: string | null }[];
}

describe('benches on the wire', { skip: whyNoNetwork() }, () => {
  let directory: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'xvs-bench-wire-test-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function bench(name: string, ...words: string[]): Promise<Outcome> {
    return runBench(name, '--quick', ...words);
  }

  async function runBench(name: string, ...words: string[]): Promise<Outcome> {
    const file = join(directory, `${name}.json`);
    const command = [process.execPath, RUN, name, '--json', file, ...words];
    const { status, stderr } = await runCommand(command, { timeoutMs: BENCH_MS });
    assert.equal(status, 0, stderr);
    return JSON.parse(readFileSync(file, 'utf8')) as Outcome;
  }

  test('wire: the kernel and xvs both deliver', async () => {
    const { results, targets } = await bench('wire', '--contenders', 'nftables,xvs');
    for (const name of ['nftables IPv4', 'xvs nat IPv4']) {
      for (const unit of ['Mpps', 'packets/CPU-second']) {
        const flood = results.find(
          (row) => row.name === name && row.unit === unit && row.parameters['load'] === 'flood',
        );
        assert.ok(flood && flood.median > 0, `${name}: ${unit} in the flood`);
      }
    }
    assert.ok(
      targets.some(({ goal }) => goal === 'lossless'),
      JSON.stringify(targets),
    );
    assert.deepEqual(Namespace.names(NAMESPACES), []);
  });

  test('wire, side by side: two in C take turns, and each delivers what it has to', async () => {
    const shortly = ['--rounds', '2', '--seconds', '0.3', '--warmup', '0.2', '--retries', '0'];
    const words = ['--side-by-side', '--loads', 'flood', '--contenders', 'c-forwarder,c-director'];
    const { results } = await runBench('wire', ...shortly, ...words);
    for (const name of ['c-forwarder IPv4', 'c-director IPv4']) {
      const flood = results.find((row) => row.name === name && row.unit === 'Mpps');
      assert.ok(flood && flood.min > 0 && flood.count === 2, name);
    }
    assert.deepEqual(Namespace.names(NAMESPACES), []);
  });

  test('latency: what is sent comes back, and its percentiles rise', async () => {
    const words = ['--contenders', 'xvs,xdp-redirect', '--modes', 'interrupt'];
    const { results } = await bench('latency', ...words);
    for (const name of ['xvs nat IPv4', 'xdp-redirect IPv4']) {
      for (const load of ['low', 'half']) {
        const delay = (way: string, point: string) => {
          const found = results.find(
            ({ name: of, parameters }) =>
              of === name &&
              parameters['load'] === load &&
              parameters['way'] === way &&
              parameters['point'] === point,
          );
          assert.ok(found && found.median > 0, `${name} ${load} ${way} ${point}`);
          return found.median;
        };
        for (const way of ['one way', 'round trip']) {
          const points = ['p50', 'p99', 'p99.9', 'max'].map((point) => delay(way, point));
          const sorted = [...points].sort((a, b) => a - b);
          assert.deepEqual(points, sorted, `${name} ${load} ${way}`);
        }
        assert.ok(delay('round trip', 'p50') > delay('one way', 'p50'), `${name} ${load}`);
      }
    }
    assert.deepEqual(Namespace.names(NAMESPACES), []);
  });

  test('tcp: every response is right, through the kernel and through xvs', async () => {
    const { results } = await bench('tcp', '--contenders', 'xvs,nftables', '--methods', 'nat');
    const median = (name: string, unit: string, point?: string) => {
      const found = results.find(
        (row) => row.name === name && row.unit === unit && row.parameters['point'] === point,
      );
      assert.ok(found && found.median > 0, `${name}: ${unit} ${point ?? ''}`);
      return found.median;
    };
    for (const name of ['xvs NAT', 'nftables NAT']) {
      for (const [load, unit] of [
        ['requests', 'requests'],
        ['connect', 'connections'],
        ['transfer', 'Gbit'],
      ]) {
        median(`${name} ${load}`, `${unit}/s`);
        median(`${name} ${load}`, `${unit}/CPU-second`);
      }
      for (const load of ['requests', 'connect']) {
        const points = ['p50', 'p99', 'p99.9', 'max'].map((point) =>
          median(`${name} ${load} paced`, 'us', point),
        );
        assert.deepEqual(
          points,
          [...points].sort((a, b) => a - b),
          `${name} ${load} paced`,
        );
      }
    }
    assert.deepEqual(Namespace.names(NAMESPACES), []);
  });
});
