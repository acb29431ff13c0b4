/**
 * `npm run lab -- --enter`: a shell on the director of a lab that was kept, in the lab's folder,
 * with xvs's tools at hand; each other host is a command there that runs what follows it.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Director, executable } from './director';
import { Namespace } from './namespace';
import type { Topology } from './topology';

const TOOLS = ['xvsd', 'xvsadm', 'xvsadm-save', 'xvsadm-restore', 'xvs'];
const KEPT = 'kept.json';

interface Kept {
  readonly director: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Puts into the lab's folder what `enter` needs. */
export function prepareToEnter(topology: Topology, director: Director): void {
  const { directory, prefix } = topology;
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  for (const tool of TOOLS) symlinkSync(executable(tool), join(bin, tool));
  for (const namespace of Namespace.names(`${prefix}-`)) {
    if (namespace === director.host.name) continue;
    const command = join(bin, namespace.slice(prefix.length + 1));
    writeFileSync(command, `#!/bin/sh\nexec ip netns exec ${namespace} "$@"\n`);
    chmodSync(command, 0o755);
  }
  const environment = { XVS_SOCKET: director.socket, XVSD_PID: String(director.pid) };
  const kept: Kept = { director: director.host.name, environment };
  writeFileSync(join(directory, KEPT), JSON.stringify(kept));
}

/** Prefixes of labs that were kept. */
export function keptLabs(): readonly string[] {
  return readdirSync(tmpdir()).filter(
    (name) => /^xvs-\d+(-\d+)?$/.test(name) && existsSync(join(tmpdir(), name, KEPT)),
  );
}

/** The lab of that prefix, without one the only one there is. Throws when that is none. */
export function keptLab(prefix: string | undefined): string {
  const kept = keptLabs();
  const [only, ...others] = prefix === undefined ? kept : kept.filter((one) => one === prefix);
  if (only !== undefined && others.length === 0) return only;
  const allowed = kept.length === 0 ? 'no lab was kept' : `kept are ${kept.join(', ')}`;
  throw new Error(prefix === undefined ? `which lab? ${allowed}` : `lab ${prefix}: ${allowed}`);
}

/** Runs the shell. Returns its exit status. */
export function enter(prefix: string): number {
  const directory = join(tmpdir(), prefix);
  const kept = JSON.parse(readFileSync(join(directory, KEPT), 'utf8')) as Kept;
  const [file, ...words] = Namespace.existing(kept.director).inside(['bash', '--norc']);
  const path = `${join(directory, 'bin')}:${process.env['PATH']}`;
  const env = { ...process.env, ...kept.environment, PATH: path, PS1: 'director# ' };
  return spawnSync(file!, words, { cwd: directory, env, stdio: 'inherit' }).status ?? 1;
}
