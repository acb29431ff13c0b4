#!/usr/bin/env node
/** `npm run lab -- NAME`: runs one of the labs. */
import { main } from '../lab/main';

main(process.argv.slice(2)).then((status) => {
  process.exitCode = status;
});
