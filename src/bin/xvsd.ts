#!/usr/bin/env node
import { main } from '../daemon/main';

main(process.argv.slice(2));
