/** Ports by the names of /etc/services (services(5)), read when a rule first needs one. */
import { readFileSync } from 'node:fs';
import type { PortNames } from './values';

let ports: ReadonlyMap<string, number> | null = null;

function readPorts(): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  let text = '';
  try {
    text = readFileSync('/etc/services', 'latin1');
  } catch {
    // A system without the file knows no port by name, which is no error.
  }
  for (const line of text.split('\n')) {
    const [name = '', where = '', ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
    const [, port, protocol] = /^([0-9]+)\/(\w+)$/.exec(where) ?? [];
    if (port === undefined) continue;
    for (const word of [name, ...aliases]) {
      const key = `${word}/${protocol}`;
      if (!found.has(key)) found.set(key, Number(port));
    }
  }
  return found;
}

export const systemPorts: PortNames = (name, protocol) => {
  ports ??= readPorts();
  return ports.get(`${name}/${protocol}`) ?? null;
};
