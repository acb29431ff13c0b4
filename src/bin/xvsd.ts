#!/usr/bin/env node
import { parseRules } from '../cli/rules';
import { main } from '../daemon/main';

void main(process.argv.slice(2), parseRules);
