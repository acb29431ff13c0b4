#!/usr/bin/env node
import { processIo } from '../cli/io';
import { runXvs } from '../cli/verbs/main';

void runXvs(process.argv.slice(2), processIo()).then((status) => {
  // All output is written by now: not waiting for handles to close saves some milliseconds.
  process.exit(status);
});
