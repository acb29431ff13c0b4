/**
 * A process that has nothing to do with xvs and is busy as its tools are: it makes text from
 * objects and objects from text, for `node neighbour.js MILLISECONDS`. What the worker loses beside
 * it, it loses to the machine.
 */
const end = performance.now() + Number(process.argv[2]);
let kept = 0;
while (performance.now() < end) {
  const rows = Array.from({ length: 10_000 }, (_, at) => ({ at, text: `row ${at}`, weight: 1 }));
  kept ^= (JSON.parse(JSON.stringify(rows)) as unknown[]).length;
}
process.stdout.write(`${kept}\n`);
