/**
 * `xvs sysctl [NAME[=VALUE] ...]`: the switches of the director, by IPVS's names and in the manner
 * of sysctl(8). What is set is set in one request: all of it or nothing.
 */
import type { SysctlList, SysctlValues } from '../../control/protocol';
import { requireKnown } from '../../control/sysctl';
import { ask, FailedError, LineError, readOptions, type Verb } from './verb';

const HELP = `usage: xvs sysctl [--json] [NAME | NAME=VALUE] ...

Lists the director's sysctls, those named, or sets them; "net.ipv4.vs." before a name may stay.
All of a line is set, or nothing. They hold until xvsd ends, or a config file is applied; to keep
them, write them under \`sysctl\` in the config file.

  --json  the values as JSON
`;

const PREFIX = /^net[./]ipv4[./]vs[./]/;
const NUMBER = /^-?[0-9]{1,10}$/;

interface Asked {
  readonly names: readonly string[];
  readonly values: SysctlValues;
}

function read(words: readonly string[]): Asked {
  const names: string[] = [];
  const values: Record<string, number> = {};
  for (const word of words) {
    const [name = '', text] = word.replace(PREFIX, '').split(/=(.*)/s);
    if (name === '') throw new LineError(`sysctl ${word}: a name is missing`);
    names.push(name);
    if (text === undefined) continue;
    if (!NUMBER.test(text)) throw new LineError(`sysctl ${word}: a whole number is allowed`);
    if (Object.hasOwn(values, name)) throw new LineError(`sysctl ${name}: is given twice`);
    values[name] = Number(text);
  }
  return { names, values };
}

/** What the director does not know is said in its words. */
function refuseUnknown(names: readonly string[]): void {
  try {
    for (const name of names) requireKnown(name);
  } catch (error) {
    throw new FailedError((error as Error).message);
  }
}

export const verb: Verb = {
  help: HELP,
  async run(words, { io, socketPath }) {
    const { flags, rest } = readOptions(words, { json: 'flag' });
    const { names, values } = read(rest);
    refuseUnknown(names);
    if (Object.keys(values).length > 0) await ask(socketPath, 'POST', '/v1/sysctl', values);
    const listed = (await ask(socketPath, 'GET', '/v1/sysctl')) as SysctlList;
    const shown = Object.entries(listed.values).filter(
      ([name]) => names.length === 0 || names.includes(name),
    );
    if (flags.has('json')) io.stdout(`${JSON.stringify(Object.fromEntries(shown))}\n`);
    else for (const [name, value] of shown) io.stdout(`${name} = ${value}\n`);
    return 0;
  },
};
