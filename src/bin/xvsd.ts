#!/usr/bin/env node
import { commandWords } from '../cli/commandWords';
import { parseRules } from '../cli/rules';
import { main } from '../daemon/main';

void main(process.argv.slice(2), parseRules, commandWords);
