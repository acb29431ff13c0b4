/**
 * What every lab does, said as it is done: rules by xvsadm, requests by curl, the table at the end.
 */
import type { Director } from './director';
import type { Namespace } from './namespace';

type Say = (text: string) => void;

/** True when every server answered, always in the same turn, and nobody else did. */
export function strictlyAlternate(answers: readonly string[], servers: readonly string[]): boolean {
  const round = answers.slice(0, servers.length);
  return (
    servers.every((server) => round.includes(server)) &&
    answers.every((answer, index) => answer === round[index % servers.length])
  );
}

/** Starts the daemon as an operator would. */
export function startDaemon(director: Director, say: Say): Promise<void> {
  say('director# xvsd --config xvs.yaml');
  return director.start();
}

/** Runs one of the tools on the director. Throws unless it exits 0. */
export async function administer(
  director: Director,
  say: Say,
  tool: string,
  words: readonly string[],
): Promise<void> {
  say(`director# ${tool} ${words.join(' ')}`);
  const said = await director.tool(tool, words);
  if (said.status !== 0) throw new Error(`${tool} ${words.join(' ')}: ${said.stderr.trim()}`);
}

/** One request of the client; the answer without the newline, '' when none came. */
export async function request(client: Namespace, say: Say, url: string): Promise<string> {
  const words = url.startsWith('https:') ? ['-k', url] : [url];
  const said = await client.run(['curl', '-sS', '--max-time', '5', ...words]);
  say(`client$ curl ${words.join(' ')}\n${(said.stdout || said.stderr).trim()}`);
  return said.stdout.trim();
}

/** Prints the director's table. Returns whether it could. */
export async function showTable(director: Director, say: Say): Promise<boolean> {
  const table = await director.xvsadm(['-Ln']);
  say(`director# xvsadm -Ln\n${(table.stdout + table.stderr).replace(/\n$/, '')}`);
  return table.status === 0;
}
