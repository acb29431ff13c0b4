/** Findings as text: one a block, and a line that counts them. */
import type { Finding, Severity } from './finding';

const COLUMNS = 96;
const INDENT = 8;

function wrapped(label: string, text: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && INDENT + line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  const space = ' '.repeat(INDENT);
  return `  ${label.padEnd(INDENT - 2)}${lines.join(`\n${space}`)}\n`;
}

function block({ check, severity, subject, seen, why, remedy }: Finding): string {
  const head = `${severity.toUpperCase()} ${check}: ${subject}\n`;
  const commands = remedy.map(
    (line, at) => `  ${(at === 0 ? 'do' : '').padEnd(INDENT - 2)}${line}\n`,
  );
  return `${head}${wrapped('seen', seen)}${wrapped('why', why)}${commands.join('')}\n`;
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

/** `verbose`: what is fine is shown too, a line each. */
export function printFindings(findings: readonly Finding[], verbose: boolean): string {
  const of = (severity: Severity) => findings.filter((one) => one.severity === severity);
  const wrong = [...of('error'), ...of('warning')].map(block).join('');
  const fine = verbose
    ? of('ok').map(({ check, subject, seen }) => `ok ${check}: ${subject}: ${seen}\n`)
    : [];
  const counts = [plural(of('error').length, 'error'), plural(of('warning').length, 'warning')];
  return `${wrong}${fine.join('')}${counts.join(', ')}, ${of('ok').length} fine\n`;
}
