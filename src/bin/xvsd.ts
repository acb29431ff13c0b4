#!/usr/bin/env -S node --single-threaded-gc --no-memory-reducer
/*
 * The flags are V8's: the director collects its garbage alone, without four helpers that would take
 * as much of a CPU each as a worker that shares it, and not while it is idle, to give memory back.
 */
import { commandWords } from '../cli/commandWords';
import { parseRules } from '../cli/rules';
import { main } from '../daemon/main';

void main(process.argv.slice(2), parseRules, commandWords);
