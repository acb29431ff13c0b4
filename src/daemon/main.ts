/**
 * xvsd's command line: `--config FILE` runs in the foreground until SIGTERM or SIGINT, SIGHUP
 * reads the file again; with `--check` the file is only validated.
 */
import { type Config, ConfigError, loadConfig, type RulesParser } from '../control/config';
import { checkSpecs } from '../control/configCheck';
import type { Command } from '../control/protocol';
import { Daemon } from './daemon';
import { log, logger } from './log';
import { notifyReady } from './notify';

const USAGE = `usage: xvsd --config FILE [--check]

  --config FILE   configuration (default /etc/xvs/xvs.yaml)
  --check         validate the configuration and exit
  --help          this text

SIGHUP reads the configuration again, SIGTERM ends the daemon.
`;
const DEFAULT_CONFIG = '/etc/xvs/xvs.yaml';

interface Arguments {
  readonly config: string;
  readonly check: boolean;
  readonly help: boolean;
}

function parse(words: readonly string[]): Arguments {
  let config = DEFAULT_CONFIG;
  let check = false;
  let help = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === '--check') check = true;
    else if (word === '--help' || word === '-h') help = true;
    else if (word.startsWith('--config=')) config = word.slice('--config='.length);
    else if (word === '--config') {
      const value = words[++i];
      if (value === undefined) throw new Error('--config: a file name is missing');
      config = value;
    } else throw new Error(`${word}: unknown argument`);
  }
  return { config, check, help };
}

function report(error: unknown): void {
  if (error instanceof ConfigError) {
    for (const line of error.message.split('\n')) log('error', 'config_refused', line);
  } else log('error', 'failed', (error as Error).message);
}

/**
 * `parseRules` reads the file that the configuration's key `rules` names; `commandWords` says a
 * command as it would be typed.
 */
export async function main(
  words: readonly string[],
  parseRules: RulesParser,
  commandWords: (command: Command) => string,
): Promise<void> {
  let given: Arguments;
  try {
    given = parse(words);
  } catch (error) {
    process.stderr.write(`xvsd: ${(error as Error).message}\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  if (given.help) {
    process.stdout.write(USAGE);
    return;
  }
  try {
    const load = (): Config => {
      const config = loadConfig(given.config, parseRules);
      checkSpecs(given.config, config.services);
      return config;
    };
    const config = load();
    if (given.check) {
      process.stdout.write(`${given.config}: ok\n`);
      return;
    }
    await run(given.config, config, load, commandWords);
  } catch (error) {
    report(error);
    process.exitCode = 1;
  }
}

async function run(
  file: string,
  config: Config,
  load: () => Config,
  commandWords: (command: Command) => string,
): Promise<void> {
  logger.configure(config.log);
  let closing = false;
  const close = async (status: number): Promise<void> => {
    if (closing) return;
    closing = true;
    await daemon.close();
    log('info', 'stopped', `xvsd ends with status ${status}`, { status });
    process.exit(status);
  };
  const stop = (signal: NodeJS.Signals): void => {
    if (!closing) log('info', 'stopping', signal, { signal });
    void close(0);
  };
  const daemon = new Daemon((error) => {
    report(error);
    void close(1);
  }, commandWords);
  // Node.js says it too, in lines of its own, and ends.
  process.on('uncaughtExceptionMonitor', (error) => {
    log('error', 'failed', error.stack ?? error.message);
  });
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  const reload = async (): Promise<void> => {
    try {
      await daemon.reload(load, file);
    } catch (error) {
      report(error);
      log('error', 'config_refused', `${file}: not applied, everything stays as it is`);
    }
  };
  process.on('SIGHUP', () => void reload());
  try {
    await daemon.start(config, file);
  } catch (error) {
    if (closing) return; // It was told to stop meanwhile.
    throw error;
  }
  const trouble = await notifyReady(
    `serves ${config.interfaces.map(({ name }) => name).join(', ')}`,
  );
  if (trouble !== '')
    log('warn', 'notify_failed', `systemd is not told that xvsd is ready: ${trouble}`);
}
