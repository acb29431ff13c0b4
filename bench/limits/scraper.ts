/**
 * Reads metrics in the director's namespace: started before the traffic, so that reading them takes
 * no new process in the midst of it. A page as JSON text for each line on stdin.
 */
import { createInterface } from 'node:readline';

async function main(url: string): Promise<void> {
  for await (const _ of createInterface({ input: process.stdin })) {
    const response = await fetch(url);
    process.stdout.write(`${JSON.stringify(await response.text())}\n`);
  }
}

main(process.argv[2] ?? '').catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
});
