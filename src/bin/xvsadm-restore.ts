#!/usr/bin/env node
import { processIo } from '../cli/io';
import { runRestore } from '../cli/wrappers';

void runRestore(process.argv.slice(2), processIo()).then((status) => {
  process.exitCode = status;
});
