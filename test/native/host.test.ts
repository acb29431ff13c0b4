/** The host's side, in a namespace of its own: TAP device and netlink. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ip, Lab, scriptIn } from './support';

const ADDRESS = '10.99.8.1';

describe('the host', { timeout: 30_000 }, () => {
  const lab = new Lab();
  let host = '';
  before(() => {
    host = lab.namespace('host');
    ip('-n', host, 'address', 'add', `${ADDRESS}/32`, 'dev', 'lo');
  });
  after(() => lab.remove());

  it('takes frames from a TAP device, with finished and unfinished checksums', async () => {
    const script = scriptIn(host, 'tapScript', ADDRESS);
    const result = JSON.parse(await script.ended);
    assert.deepEqual(result.received, ['finished', 'unfinished', 'second queue']);
    assert.equal(result.wrongChecksum, 'not delivered');
    assert.equal(result.sameIndex, true);
    assert.deepEqual(result.flags.sort(), ['BROADCAST', 'LOWER_UP', 'MULTICAST', 'NOARP', 'UP']);
    assert.deepEqual(result.addresses, []);
    assert.match(result.outside, /must have an Ethernet header and lie in the UMEM/);
    assert.match(result.longName, /1 to 15 characters/);
    assert.deepEqual(result.linksAfterClose, ['lo']);
  });

  it('answers a netlink dump of links, and tells of changes', async () => {
    const script = scriptIn(host, 'netlinkScript');
    await script.started;
    ip('-n', host, 'link', 'add', 'xvsnl0', 'type', 'veth', 'peer', 'name', 'xvsnl1');
    const lines = (await script.ended).trim().split('\n');
    assert.deepEqual(JSON.parse(lines[0]!), ['lo']);
    assert.deepEqual(JSON.parse(lines[1]!).sort(), ['xvsnl0', 'xvsnl1']);
    assert.match(lines[2]!, /EMSGSIZE: message of \d+ bytes, buffer has 16/);
    assert.match(lines[3]!, /ENOENT|EINVAL|ERANGE/);
  });
});
