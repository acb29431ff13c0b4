/**
 * Recordings of schedulers that look at the destination (goldens/sched, services by mark): the
 * scheduler is asked directly for each connection of the recording.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Event, readEvents } from '../../support/golden';
import { REFUSED } from '../../support/hosts';
import { Scheduling } from '../../support/scheduling';

const CASES = [
  ['sched-dh-fwmark-3-2-1', 'dh'],
  ['sched-lblcr-fwmark-1-1-1', 'lblcr'],
  ['sched-lblcr-overload', 'lblcr'],
] as const;

const SERVER = /^ipvsadm -([aed]) -f 1 -r 10\.0\.2\.1(\d):8000(?: -m -w (\d+))?$/;
const ROW = /^ {2}-> 10\.0\.2\.1(\d):8000 +Masq +\d+ +(\d+) +(\d+) +$/gm;

function execute(scheduling: Scheduling, line: string): void {
  const [, verb, number, weight] = SERVER.exec(line) ?? assert.fail(line);
  if (verb === 'a') scheduling.add(Number(number), Number(weight));
  else if (verb === 'e') scheduling.change(Number(number), Number(weight));
  else scheduling.remove(Number(number));
}

/** Active and inactive connections of each server. */
function compareCounts(scheduling: Scheduling, text: string): void {
  const { realServers } = scheduling.tables;
  for (const [, number, active, inactive] of text.matchAll(ROW)) {
    const slot = scheduling.serverSlot(Number(number));
    const counts = [realServers.active(slot), realServers.inactive(slot)];
    assert.deepEqual(counts, [Number(active), Number(inactive)], `server ${number}`);
  }
}

function connect(scheduling: Scheduling, event: Extract<Event, { op: 'tcp' }>): void {
  const [client, port] = event.client.split(':');
  const destination = event.vip.split(':')[0]!;
  const number = scheduling.choose({ client: client!, port: Number(port), destination });
  assert.equal(number === 0 ? REFUSED : `rs${number}`, event.rs, `${client} to ${destination}`);
  if (number !== 0 && event.hold !== true) {
    scheduling.tables.realServers.move(scheduling.serverSlot(number), false);
  }
}

for (const [name, scheduler] of CASES) {
  test(`recorded ${name}`, () => {
    const scheduling = new Scheduling();
    scheduling.start(scheduler);
    let connections = 0;
    let views = 0;
    for (const event of readEvents('sched', name)) {
      if (event.op === 'cmd' && SERVER.test(event.cmd)) execute(scheduling, event.cmd);
      else if (event.op === 'view' && event.cmd === 'ipvsadm -Ln') {
        compareCounts(scheduling, event.stdout);
        views++;
      } else if (event.op === 'tcp') {
        connect(scheduling, event);
        connections++;
      }
    }
    assert.ok(connections >= 19 && views >= 1, `${connections} connections, ${views} views`);
  });
}
