#!/usr/bin/env node
import { processIo } from '../cli/io';
import { runXvsadm } from '../cli/xvsadm';

void runXvsadm(process.argv.slice(2), processIo()).then((status) => {
  process.exitCode = status;
});
