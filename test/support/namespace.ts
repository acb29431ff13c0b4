/**
 * What this machine holds of namespaces, links, BPF objects, processes and files, so that a test
 * can show that nothing of its own is left.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { commandSync, eventually } from '#xvs/lab/process';

/** The kernel frees namespaces, programs and maps some time after their last user is gone. */
const SETTLE_TIMEOUT_MS = 10_000;

/** Each entry names one thing, with its kind in front. */
export type HostState = ReadonlySet<string>;

function list(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}

function bpfObjects(kind: 'prog' | 'map' | 'link'): string[] {
  const objects = JSON.parse(commandSync(['bpftool', '-j', kind, 'show'])) as {
    id: number;
    name?: string;
    type?: string;
  }[];
  return objects.map((object) => `bpf ${kind} ${object.id} ${object.name ?? object.type}`);
}

/** Processes of ours: a daemon, its tools, a lab, a real server. */
function processes(): string[] {
  const found: string[] = [];
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
      if (/dist\/bin\/\w|nginx/.test(words)) found.push(`process ${pid} ${words}`);
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return found;
}

export function hostState(): HostState {
  const links = JSON.parse(commandSync(['ip', '-j', 'link', 'show'])) as { ifname: string }[];
  return new Set([
    ...list('/run/netns').map((name) => `namespace ${name}`),
    ...links.map((link) => `link ${link.ifname}`),
    ...bpfObjects('prog'),
    ...bpfObjects('map'),
    ...bpfObjects('link'),
    ...processes(),
    ...list('/run/xvs').map((name) => `file /run/xvs/${name}`),
    ...list(tmpdir())
      .filter((name) => /^xvs-\d/.test(name))
      .map((name) => `file ${name}`),
  ]);
}

/** Fails when something is there that was not there before. */
export async function assertNothingLeft(before: HostState): Promise<void> {
  let left: string[] = [];
  await eventually(
    () => {
      left = [...hostState()].filter((entry) => !before.has(entry));
      return left.length === 0;
    },
    SETTLE_TIMEOUT_MS,
    200,
  );
  assert.deepEqual(left, []);
}
