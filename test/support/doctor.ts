/** `xvs doctor` against a lab's daemon, and its remedies carried out as an operator would. */
import assert from 'node:assert/strict';
import type { Finding } from '#xvs/control/doctor/finding';
import { type Director, executable } from '#xvs/lab/director';
import type { Namespace } from '#xvs/lab/namespace';
import { eventually } from '#xvs/lab/process';
import { mustRun } from './process';

const SETTLE_MS = 20_000;
const EXIT_WELL = 0;
export const EXIT_ERRORS = 4;

export interface Diagnosis {
  readonly status: number;
  /** Errors and warnings. */
  readonly wrong: readonly Finding[];
}

/** `seconds`: for how long counters are watched. */
export async function examine(director: Director, seconds = 0): Promise<Diagnosis> {
  const said = await director.tool('xvs', ['doctor', '--json', '--seconds', `${seconds}`]);
  assert.equal(said.stderr, '');
  const findings = JSON.parse(said.stdout) as Finding[];
  return { status: said.status, wrong: findings.filter(({ severity }) => severity !== 'ok') };
}

/** Fails, with what is wrong, unless nothing is, once what is under way has come to its end. */
export async function assertContent(director: Director): Promise<void> {
  let diagnosis = await examine(director);
  await eventually(async () => {
    if (diagnosis.wrong.length > 0) diagnosis = await examine(director);
    return diagnosis.wrong.length === 0;
  }, SETTLE_MS);
  assert.deepEqual(diagnosis.wrong, []);
  assert.equal(diagnosis.status, EXIT_WELL);
}

/** The finding of one check; fails, with all that was found, when it is not there. */
export function findingOf({ wrong }: Diagnosis, check: string): Finding {
  const found = wrong.find((one) => one.check === check);
  assert.ok(found !== undefined, `no ${check} among ${JSON.stringify(wrong, null, 2)}`);
  return found;
}

/** Runs a line of a remedy on a host, without its comment and the "on HOST:" before it. */
export async function follow(director: Director, host: Namespace, line: string): Promise<void> {
  const command = line.replace(/^on [^ ]+: /, '').replace(/ +#.*$/, '');
  const [, tool, words = ''] = /^(xvs|xvsadm) (.*)$/s.exec(command) ?? [];
  const run = tool === undefined ? command : `${process.execPath} ${executable(tool)} ${words}`;
  await mustRun(host, ['sh', '-ec', run], { environment: { XVS_SOCKET: director.socket } });
}
