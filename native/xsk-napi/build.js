'use strict';
/*
 * Builds the addon (node-gyp, incremental) and the XDP programs (clang); does nothing when all
 * are newer than their sources. `--debug` builds build/Debug, in which every chunk has an owner.
 */
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const HERE = __dirname;
const CONFIGURATION = process.argv.includes('--debug') ? 'Debug' : 'Release';
const OUT = path.join(HERE, 'build', CONFIGURATION);
const ADDON = path.join(OUT, 'xsk.node');
const BPF = path.join(HERE, 'bpf');
const PROGRAMS = ['redirect', 'decap'];

function sources() {
  const folder = path.join(HERE, 'src');
  const files = fs.readdirSync(folder).map((name) => path.join(folder, name));
  return [...files, path.join(HERE, 'binding.gyp'), __filename];
}

/** What the addon was built for: a build for another Node version or CPU is out of date. */
function fingerprint() {
  return `${process.version} ${process.arch}\n`;
}

function isNewer(target, inputs) {
  if (!fs.existsSync(target)) return false;
  const built = fs.statSync(target).mtimeMs;
  return inputs.every((input) => fs.statSync(input).mtimeMs <= built);
}

function run(command, args) {
  const result = spawnSync(command, args, { cwd: HERE, stdio: 'inherit' });
  if (result.error) {
    console.error(`xsk-napi: cannot run ${command}: ${result.error.message}`);
    process.exit(1);
  }
  if (result.status !== 0) {
    console.error(`xsk-napi: ${command} ${args.join(' ')} failed (${result.status})`);
    process.exit(1);
  }
}

/** Node's headers when they are installed beside this node: then nothing is downloaded. */
function headerOptions() {
  const prefix = path.dirname(path.dirname(fs.realpathSync(process.execPath)));
  const header = path.join(prefix, 'include', 'node', 'node_api.h');
  return fs.existsSync(header) ? [`--nodedir=${prefix}`] : [];
}

function buildAddon() {
  const stamp = path.join(OUT, 'built-for');
  const same = fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === fingerprint();
  if (same && isNewer(ADDON, sources())) return console.log('xsk-napi: addon is up to date');
  const gyp = require.resolve('node-gyp/bin/node-gyp.js');
  const common = ['--silent', ...headerOptions()];
  if (CONFIGURATION === 'Debug') common.push('--debug');
  // Not node-gyp's own rebuild: it would take the other configuration's files away too.
  if (!same) fs.rmSync(OUT, { recursive: true, force: true });
  run(process.execPath, [gyp, 'configure', ...common]);
  run(process.execPath, [gyp, 'build', ...common]);
  // make leaves a file alone whose inputs did not change what it is made of: date it ourselves
  fs.utimesSync(ADDON, new Date(), new Date());
  fs.writeFileSync(stamp, fingerprint());
  console.log(`xsk-napi: built ${path.relative(HERE, ADDON)}`);
}

function buildProgram(name) {
  const object = path.join(OUT, `${name}.bpf.o`);
  const headers = fs.readdirSync(BPF).filter((file) => file.endsWith('.h'));
  const inputs = [`${name}.bpf.c`, ...headers].map((file) => path.join(BPF, file));
  if (isNewer(object, inputs)) return console.log(`xsk-napi: XDP program ${name} is up to date`);
  const machine = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch];
  const include = machine ? [`-I/usr/include/${machine}`] : [];
  fs.mkdirSync(OUT, { recursive: true });
  const flags = ['-O2', '-g', '-Wall', '-Wextra', '-Werror', '-target', 'bpf', '-mcpu=v3'];
  const temporary = `${object}.${process.pid}`;
  run('clang', [...flags, ...include, '-c', inputs[0], '-o', temporary]);
  fs.renameSync(temporary, object);
  console.log(`xsk-napi: built ${path.relative(HERE, object)}`);
}

buildAddon();
for (const name of PROGRAMS) buildProgram(name);
