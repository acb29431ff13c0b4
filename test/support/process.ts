/**
 * Assertions on commands that tests run.
 */
import assert from 'node:assert/strict';
import type { CommandResult, RunOptions } from '#xvs/lab/process';

interface Host {
  readonly name: string;
  run(command: readonly string[], options?: RunOptions): Promise<CommandResult>;
}

/** Runs a command on a host; fails the test, with what it said, unless it exits 0. */
export async function mustRun(
  host: Host,
  command: readonly string[],
  options?: RunOptions,
): Promise<string> {
  const result = await host.run(command, options);
  assert.equal(
    result.status,
    0,
    `${host.name}: ${command.join(' ')}: status ${result.status}: ${result.stderr}${result.stdout}`,
  );
  return result.stdout;
}

/** The body of one GET, without the newline at its end. */
export async function fetchText(host: Host, url: string): Promise<string> {
  return (await mustRun(host, ['curl', '-sSf', '--max-time', '5', url])).trim();
}

/** The bodies of `count` GETs, one after another, each over a connection of its own. */
export async function fetchTexts(host: Host, url: string, count: number): Promise<string[]> {
  const texts: string[] = [];
  for (let request = 0; request < count; request++) texts.push(await fetchText(host, url));
  return texts;
}
