#!/usr/bin/env node
/** `npm run lab -- NAME`: runs one of the labs. */
import { main } from '../lab/main';

// Whatever ends this process early: a lab that was not seen to its end has not passed.
process.exitCode = 1;
main(process.argv.slice(2)).then((status) => {
  process.exitCode = status;
});
