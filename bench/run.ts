/**
 * `npm run bench -- NAME [--json FILE] [options]`: runs one bench, prints its table on stdout and
 * its progress on stderr. Exit code 0: all was measured; 1: it failed; 2: wrong usage.
 */
import * as connections from './connections/connections';
import * as control from './control/control';
import * as latency from './latency/latency';
import * as limits from './limits/limits';
import * as micro from './micro/micro';
import * as pipeline from './pipeline/pipeline';
import * as program from './program/program';
import * as report from './report/report';
import * as stages from './stages/stages';
import * as stalls from './stalls/stalls';
import { OptionError } from './support/options';
import { formatReport, type Report, writeJson } from './support/report';
import * as tcp from './tcp/tcp';
import * as trace from './trace/trace';
import * as wire from './wire/wire';

interface Bench {
  readonly summary: string;
  readonly help: () => string;
  readonly run: (argv: readonly string[]) => Promise<Report>;
}

const BENCHES: Readonly<Record<string, Bench>> = {
  connections,
  control,
  latency,
  limits,
  micro,
  pipeline,
  program,
  report,
  stages,
  stalls,
  tcp,
  trace,
  wire,
};

function usage(): string {
  const lines = Object.entries(BENCHES).map(([name, { summary }]) => `  ${name}  ${summary}\n`);
  return `usage: npm run bench -- NAME [--json FILE] [options], NAME one of\n${lines.join('')}`;
}

/** Takes `--json FILE` out of the arguments. */
function takeJson(argv: readonly string[]): { file: string | null; rest: string[] } {
  const at = argv.findIndex((word) => word === '--json' || word.startsWith('--json='));
  const word = argv[at];
  if (word === undefined) return { file: null, rest: [...argv] };
  const isJoined = word.startsWith('--json=');
  const file = isJoined ? word.slice('--json='.length) : argv[at + 1];
  if (!file) throw new OptionError('--json: a file name is needed');
  return { file, rest: argv.filter((_, index) => index < at || index > at + (isJoined ? 0 : 1)) };
}

async function main(argv: readonly string[]): Promise<number> {
  const [name = '', ...words] = argv;
  const bench = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
  if (!bench) {
    process.stderr.write(name ? `bench '${name}' is not known\n${usage()}` : usage());
    return 2;
  }
  if (words.includes('--help')) {
    process.stdout.write(`bench ${name}: ${bench.summary}\n${bench.help()}`);
    return 0;
  }
  const { file, rest } = takeJson(words);
  const report = await bench.run(rest);
  process.stdout.write(formatReport(report));
  if (file !== null) writeJson(file, report);
  for (const text of report.missing) process.stderr.write(`${text}\n`);
  return report.missing.length > 0 ? 1 : 0;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = error instanceof OptionError ? 2 : 1;
  },
);
