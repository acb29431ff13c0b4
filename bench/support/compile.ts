/**
 * The benches' C programs: compiled into dist/bench/ when their source is younger than what is
 * there. `cc -O3 -march=native` for programs, clang for XDP objects.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** dist/bench/support/compile.js is three folders below the project. */
export const PROJECT = resolve(__dirname, '../../..');

/** A source may include any header of its folder and of this one. */
function isStale(source: string, target: string): boolean {
  const built = statSync(target, { throwIfNoEntry: false });
  if (built === undefined) return true;
  const headers = [dirname(source), join(PROJECT, 'bench/support')].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith('.h'))
      .map((name) => join(folder, name)),
  );
  return [source, ...headers].some((file) => built.mtimeMs < statSync(file).mtimeMs);
}

function build(source: string, target: string, compiler: string, flags: readonly string[]): string {
  const from = join(PROJECT, source);
  const to = join(PROJECT, target);
  if (!isStale(from, to)) return to;
  process.stderr.write(`compiling ${source}\n`);
  mkdirSync(dirname(to), { recursive: true });
  execFileSync(
    compiler,
    [...flags.slice(0, -1), from, '-o', to, flags.at(-1) ?? ''].filter(Boolean),
    {
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  );
  return to;
}

/**
 * Compiles a C or C++ program of the project (path from its root). Returns the executable's path:
 * it ends in `.bin`, since a bare name beside a module of that name would be loaded in its place.
 */
export function compileProgram(source: string, libraries = ''): string {
  const target = join('dist', dirname(source), `${basename(source).replace(/\.cc?$/, '')}.bin`);
  const flags = ['-O3', '-march=native', '-Wall', '-Wextra', '-Werror', libraries];
  return build(source, target, 'cc', flags);
}

/** Compiles an XDP program of the project. Returns the object's path. */
export function compileObject(source: string): string {
  const target = join('dist', dirname(source), `${basename(source, '.c')}.o`);
  const machine = execFileSync('cc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  const flags = ['-O2', '-g', '-Wall', '-target', 'bpf', '-c', `-I/usr/include/${machine}`, ''];
  return build(source, target, 'clang', flags);
}
