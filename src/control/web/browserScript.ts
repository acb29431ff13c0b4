/**
 * One script of a compiled module and of those it requires: the page runs the very modules that
 * `xvs top` runs, as the compiler has made them. Modules of Node and of packages are refused.
 */
import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';

const REQUIRE = /\brequire\("([^"]+)"\)/g;
const SOURCE_MAP = /^\/\/# sourceMappingURL=.*$/m;

/** `main`: path of the module that is run. */
export function browserScript(main: string): string {
  const modules = new Map<string, string>();
  collect(main, dirname(main), modules);
  const listed = [...modules].map(
    ([name, code]) =>
      `${JSON.stringify(name)}: function (exports, require) {\n${code.trimEnd()}\n},\n`,
  );
  return `'use strict';
(() => {
const modules = {
${listed.join('')}};
const loaded = new Map();
function load(name) {
  let exports = loaded.get(name);
  if (exports === undefined) {
    exports = {};
    loaded.set(name, exports);
    modules[name](exports, load);
  }
  return exports;
}
load(${JSON.stringify(nameOf(main, dirname(main)))});
})();
`;
}

function nameOf(path: string, base: string): string {
  return relative(base, path);
}

/** Puts the module at `path`, and what it needs, into `modules`, by names relative to `base`. */
function collect(path: string, base: string, modules: Map<string, string>): void {
  const name = nameOf(path, base);
  if (modules.has(name)) return;
  const needed: string[] = [];
  modules.set(name, '');
  const code = readFileSync(path, 'utf8')
    .replace(SOURCE_MAP, '')
    .replace(REQUIRE, (_call, wanted: string) => {
      if (!wanted.startsWith('.')) throw new Error(`${path}: "${wanted}" is not for browsers`);
      const found = `${resolve(dirname(path), wanted)}.js`;
      needed.push(found);
      return `require(${JSON.stringify(nameOf(found, base))})`;
    });
  modules.set(name, code);
  for (const one of needed) collect(one, base, modules);
}
