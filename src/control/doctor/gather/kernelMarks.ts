/** Mark rules that the kernel has, in the words in which xvs writes its own. */
import { hasMangle, importIptables } from '../../mark/importIptables';
import { importNft } from '../../mark/importNft';
import type { MarkList } from '../../protocol';
import { run } from './run';

/** null: neither iptables nor nftables is installed. */
export function readKernelMarks(): MarkList['rules'] | null {
  const read = new Set<4 | 6>();
  const rules: { family: 4 | 6; rule: string }[] = [];
  let asked = 0;
  for (const [program, family] of [
    ['iptables-save', 4],
    ['ip6tables-save', 6],
  ] as const) {
    const { stdout, status } = run([program, '-t', 'mangle']);
    if (status !== 0) continue;
    asked++;
    if (hasMangle(stdout)) read.add(family);
    rules.push(...importIptables(stdout, family).rules);
  }
  const { stdout, status } = run(['nft', '-j', 'list', 'ruleset']);
  if (status === 0) {
    asked++;
    rules.push(...importNft(stdout, read).rules);
  }
  return asked === 0 ? null : rules;
}
