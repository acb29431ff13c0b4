/**
 * `xvs doctor`: what is wrong with this host and the running daemon, why it matters, and what to
 * do. Runs in the caller's process, as root in the daemon's network namespace; the daemon is asked
 * over the admin socket for what only it knows.
 */
import { existsSync } from 'node:fs';
import type { Finding } from '../../control/doctor/finding';
import { UnreachableError } from '../client';
import { parseRules } from '../rules';
import {
  ask,
  EXIT_FAILED,
  FailedError,
  LineError,
  readOptions,
  type Verb,
  wholeNumber,
} from './verb';

const DEFAULT_CONFIG = '/etc/xvs/xvs.yaml';
const SECONDS_DEFAULT = 2;
const SECONDS_MAX = 3600;

const HELP = `usage: xvs doctor [--verbose] [--json] [--seconds N]
       xvs doctor --config FILE [--verbose] [--json]

Checks this host and the running xvsd, and prints what is wrong: what was seen, why it matters, and
what to do about it. As root, in the network namespace of xvsd.

  --config FILE  check the host for what FILE says instead; no xvsd is asked
  --seconds N    watch counters for N seconds, ${SECONDS_DEFAULT} unless said
  --verbose      also what is fine
  --json         a list of findings: check, severity, subject, seen, why, remedy

Nothing is changed. Real servers, and other hosts that may have a virtual address, are asked by ARP;
a NAT server whose clients wait in vain gets one TCP connection of the director's own.

Exit status: 0 nothing is wrong, 3 there are warnings, 4 there are errors; 1 no xvsd answers (the
host is checked for ${DEFAULT_CONFIG} then, if that is there), 2 the line makes no sense.
`;

/** Without them nothing is loaded that other verbs do without. */
function doctor() {
  return {
    ...(require('../../control/doctor/examine') as typeof import('../../control/doctor/examine')),
    ...(require('../../control/doctor/finding') as typeof import('../../control/doctor/finding')),
    ...(require('../../control/doctor/print') as typeof import('../../control/doctor/print')),
    ...(require('../../control/config') as typeof import('../../control/config')),
  };
}

async function examineFile(path: string): Promise<Finding[]> {
  const { examineConfig, loadConfig } = doctor();
  return examineConfig(loadConfig(path, parseRules));
}

/** The finding that stands for a daemon that does not answer, and what the host says by itself. */
async function withoutDaemon(failure: UnreachableError, path: string): Promise<Finding[]> {
  const { error, bySeverity } = doctor();
  const unreachable = error(
    'daemon',
    'xvsd',
    `does not answer on ${path} (${failure.errno})`,
    'Nothing is balanced: the host itself gets every packet.',
    ['systemctl status xvsd; journalctl -u xvsd -n 20', 'xvsd --config FILE --check'],
  );
  const host = existsSync(DEFAULT_CONFIG) ? await examineFile(DEFAULT_CONFIG) : [];
  return bySeverity([unreachable, ...host]);
}

export const verb: Verb = {
  help: HELP,
  async run(words, { io, socketPath }) {
    const { flags, values, rest } = readOptions(words, {
      config: 'FILE',
      seconds: 'N',
      verbose: 'flag',
      json: 'flag',
    });
    if (rest.length > 0) throw new LineError(`doctor: "${rest[0]}" is no option`);
    const file = values.get('config');
    const given = values.get('seconds');
    if (file !== undefined && given !== undefined) {
      throw new LineError('--seconds: not with --config, which asks no xvsd');
    }
    const seconds =
      given === undefined ? SECONDS_DEFAULT : wholeNumber('seconds', given, 0, SECONDS_MAX);
    if (process.getuid?.() !== 0) throw new FailedError('doctor: only root can see all of it');
    const { examineDaemon, exitStatus, printFindings } = doctor();
    let failure: UnreachableError | null = null;
    let findings: Finding[];
    try {
      findings =
        file === undefined
          ? await examineDaemon((path) => ask(socketPath, 'GET', path), seconds)
          : await examineFile(file);
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      failure = error;
      findings = await withoutDaemon(error, socketPath);
    }
    io.stdout(
      flags.has('json')
        ? `${JSON.stringify(findings, null, 2)}\n`
        : printFindings(findings, flags.has('verbose')),
    );
    return failure === null ? exitStatus(findings) : EXIT_FAILED;
  },
};
