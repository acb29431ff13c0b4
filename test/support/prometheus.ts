/**
 * A Prometheus of its own in a lab: config/prometheus with shorter intervals, its data in the
 * topology's folder. It ends with the topology.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { Namespace } from '#xvs/lab/namespace';
import { eventually } from '#xvs/lab/process';
import type { Topology } from '#xvs/lab/topology';
import { PROMETHEUS_FOLDER } from './monitoring';
import { mustRun } from './process';

const ADDRESS = '127.0.0.1:9490';
const INTERVAL = '1s';
const START_MS = 60_000;

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Time in seconds, and the value as text. */
  readonly value: readonly [number, string];
}

export class Prometheus {
  readonly #host: Namespace;
  readonly logFile: string;

  private constructor(host: Namespace, logFile: string) {
    this.#host = host;
    this.logFile = logFile;
  }

  /** Starts it in `host`, where the exporter is, and waits until it answers. */
  static async start(topology: Topology, host: Namespace): Promise<Prometheus> {
    const folder = join(topology.directory, 'prometheus');
    mkdirSync(folder);
    const config = parse(readFileSync(join(PROMETHEUS_FOLDER, 'prometheus.yml'), 'utf8')) as {
      readonly rule_files: readonly string[];
    };
    const configFile = join(folder, 'prometheus.yml');
    const changed = {
      ...config,
      global: { scrape_interval: INTERVAL, evaluation_interval: INTERVAL },
      rule_files: config.rule_files.map((name) => join(PROMETHEUS_FOLDER, name)),
    };
    writeFileSync(configFile, stringify(changed));
    const words = [
      `--config.file=${configFile}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${ADDRESS}`,
    ];
    const log = join('prometheus', 'log');
    const child = topology.spawn(host, ['prometheus', ...words], log);
    const prometheus = new Prometheus(host, join(topology.directory, log));
    const gone = () => child.exitCode !== null || child.signalCode !== null;
    const ready = await eventually(async () => gone() || (await prometheus.#isReady()), START_MS);
    if (ready && !gone()) return prometheus;
    throw new Error(`prometheus does not start:\n${prometheus.log()}`);
  }

  async #isReady(): Promise<boolean> {
    const url = `http://${ADDRESS}/-/ready`;
    return (await this.#host.run(['curl', '-sf', '--max-time', '5', url])).status === 0;
  }

  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** The `data` of an answer of its HTTP API. A query that it refuses fails the test. */
  async ask<Data>(path: string, parameters: readonly (readonly [string, string])[] = []) {
    const query = parameters.flatMap(([key, value]) => ['--data-urlencode', `${key}=${value}`]);
    const url = `http://${ADDRESS}/api/v1/${path}`;
    const words = ['curl', '-sS', '--fail-with-body', '--max-time', '20', '-G', ...query, url];
    return (JSON.parse(await mustRun(this.#host, words)) as { readonly data: Data }).data;
  }

  /** What an instant query returns now. */
  async query(expression: string): Promise<readonly Series[]> {
    const { result } = await this.ask<{ readonly result: readonly Series[] }>('query', [
      ['query', expression],
    ]);
    return result;
  }
}
