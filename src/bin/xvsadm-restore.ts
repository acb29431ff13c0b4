#!/usr/bin/env node
import { processIo } from '../cli/io';
import { runRestore } from '../cli/wrappers';

void runRestore(process.argv.slice(2), processIo()).then((status) => {
  // All output is written by now: not waiting for handles to close saves some milliseconds.
  process.exit(status);
});
