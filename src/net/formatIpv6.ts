/** IPv6 addresses as text, as RFC 5952 and the C library write them; words in host order. */

/** "2001:db8::1" of four words. */
export function formatIpv6(word0: number, word1: number, word2: number, word3: number): string {
  const groups = [word0, word1, word2, word3].flatMap((word) => [word >>> 16, word & 0xffff]);
  const run = zeroRun(groups);
  const texts = groups.map((group) => group.toString(16));
  const embeds =
    run.start === 0 && (run.length === 6 || (run.length === 5 && groups[5] === 0xffff));
  if (embeds) {
    const bytes = [word3 >>> 24, (word3 >>> 16) & 255, (word3 >>> 8) & 255, word3 & 255];
    texts.splice(6, 2, bytes.join('.'));
  }
  if (run.length < 2) return texts.join(':');
  const head = texts.slice(0, run.start).join(':');
  return `${head}::${texts.slice(run.start + run.length).join(':')}`;
}

/** The first longest run of zeros. */
function zeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  groups.forEach((group, at) => {
    if (group !== 0) start = at + 1;
    else if (at + 1 - start > best.length) best = { start, length: at + 1 - start };
  });
  return best;
}
