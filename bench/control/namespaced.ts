/** The control bench in the namespace that it was started in: its report as JSON on stdout. */
import { NEAR } from '../support/inNamespace';
import { Options } from '../support/options';
import { measure } from './control';
import { OPTIONS, readSettings } from './settings';

async function main(argv: readonly string[]): Promise<void> {
  const report = await measure(readSettings(new Options(OPTIONS, argv)), NEAR);
  process.stdout.write(JSON.stringify(report));
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
  process.exitCode = 1;
});
