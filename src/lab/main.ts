/**
 * `npm run lab -- NAME [--keep]`, `npm run lab -- --enter`, `npm run lab -- --remove`.
 */
import type { Director } from './director';
import { dr } from './dr';
import { enter, keptLab, prepareToEnter } from './enter';
import { fullnat } from './fullnat';
import { fwmark } from './fwmark';
import type { Lab } from './lab';
import { nat } from './nat';
import { removeTopology, type Topology } from './topology';
import { tun } from './tun';

const LABS: readonly Lab[] = [nat, dr, fwmark, tun, fullnat];

const say = (text: string) => {
  process.stdout.write(`${text}\n`);
};

function usage(): string {
  const labs = LABS.map((lab) => `  ${lab.name.padEnd(8)} ${lab.title}`).join('\n');
  return `usage: npm run lab -- NAME [--keep]
       npm run lab -- --enter [PREFIX]    a shell on the director of a lab that was kept
       npm run lab -- --remove [PREFIX]   removes it
labs:
${labs}`;
}

function sayWhatStays(topology: Topology, director: Director): void {
  prepareToEnter(topology, director);
  topology.keep();
  say(`
The lab stays. Its files, the daemon's log among them: ${topology.directory}
  a shell on the director:  npm run lab -- --enter ${topology.prefix}
  a shell on the client:    ip netns exec ${topology.prefix}-client bash
  the daemon's table:       xvsadm --socket ${director.socket} -Ln
  remove all of it:         npm run lab -- --remove ${topology.prefix}`);
}

async function runLab(lab: Lab, keep: boolean): Promise<number> {
  const user = process.getuid?.();
  if (user !== 0) {
    throw new Error(
      `lab ${lab.name} makes network namespaces: user id is ${user}, 0 (root) is needed`,
    );
  }
  say(`lab ${lab.name}: ${lab.title}`);
  const passed = await lab.run({ keep, say, left: sayWhatStays });
  say(`lab ${lab.name}: ${passed ? 'as expected' : 'NOT as expected'}`);
  return passed ? 0 : 1;
}

/** Returns the exit status. */
export async function main(words: readonly string[]): Promise<number> {
  const [first, second, ...rest] = words;
  if (first === '--help' || first === '-h') {
    say(usage());
    return 0;
  }
  try {
    if (first === '--enter' && rest.length === 0) return enter(keptLab(second));
    if (first === '--remove' && rest.length === 0) {
      const prefix = second ?? keptLab(undefined);
      const removed = removeTopology(prefix);
      say(removed.length === 0 ? `no lab ${prefix} is there` : `removed ${removed.join(', ')}`);
      return removed.length === 0 ? 1 : 0;
    }
    const names = words.filter((word) => word !== '--keep');
    const lab = LABS.find((candidate) => candidate.name === names[0]);
    if (lab !== undefined && names.length === 1) return await runLab(lab, words.length > 1);
    const wrong = names.length === 1 ? `unknown lab "${names[0]}"\n` : '';
    process.stderr.write(`${wrong}${usage()}\n`);
    return 2;
  } catch (error) {
    process.stderr.write(`lab: ${error instanceof Error ? error.message : error}\n`);
    return 1;
  }
}
