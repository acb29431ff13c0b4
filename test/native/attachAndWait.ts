/** Attaches the XDP program to the interface named, says so, and waits to be killed. */
import { addon } from '#xvs/port/addon';

const program = addon.loadProgram();
program.attach(process.argv[2]!, 'native');
process.stdout.write('attached\n');
setTimeout(() => program.close(), 20_000);
