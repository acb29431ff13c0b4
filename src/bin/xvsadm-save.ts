#!/usr/bin/env node
import { processIo } from '../cli/io';
import { runSave } from '../cli/wrappers';

void runSave(process.argv.slice(2), processIo()).then((status) => {
  process.exitCode = status;
});
