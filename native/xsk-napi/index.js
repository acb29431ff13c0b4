'use strict';
/*
 * Finds and loads the native part: an explicit path, a prebuilt file, or the local build.
 * The XDP programs, `redirect.bpf.o` and `decap.bpf.o`, lie beside whichever of them is loaded.
 */
const fs = require('node:fs');
const path = require('node:path');

function candidates() {
  const override = process.env['XSK_NAPI_PATH'];
  if (override) return [path.resolve(override)];
  return [
    path.join(__dirname, 'prebuilds', `linux-${process.arch}.node`),
    path.join(__dirname, 'build', 'Release', 'xsk.node'),
  ];
}

function load() {
  const looked = candidates();
  const found = looked.find((file) => fs.existsSync(file));
  if (found === undefined) {
    throw new Error(
      `xsk-napi: no native addon for ${process.platform}-${process.arch}. Looked for:\n` +
        `${looked.map((file) => `  ${file}\n`).join('')}` +
        `Build it with "npm run build" in ${__dirname}, or name it in XSK_NAPI_PATH.`,
    );
  }
  return require(found);
}

module.exports = load();
