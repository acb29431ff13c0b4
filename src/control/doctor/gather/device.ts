/** What driver, kernel and sysfs tell of a served interface. */
import { realpathSync } from 'node:fs';
import { addon } from '../../../port/addon';
import type { DeviceFact, LinkFact } from '../facts';
import { parseOffloads, parseRings, parseRssShares } from './ethtool';
import { readXdpFeatures } from './netdevFeatures';
import { readInterrupts, textOf } from './procfs';
import { run } from './run';

export function readDevices(names: readonly string[], links: readonly LinkFact[]): DeviceFact[] {
  const features = readXdpFeatures(addon);
  return names.flatMap((name) => {
    const link = links.find((one) => one.name === name);
    return link === undefined ? [] : [readDevice(link, features.get(link.index) ?? null)];
  });
}

function readDevice({ name }: LinkFact, xdpFeatures: number | null): DeviceFact {
  const { driver, rxQueues, txQueues } = addon.interfaceInfo(name);
  const device = deviceFolder(name);
  const node =
    device === null ? '' : textOf(`${device}/numa_node`) || textOf(`${device}/../numa_node`);
  return {
    name,
    driver,
    rxQueues,
    txQueues,
    xdpFeatures,
    rings: parseRings(run(['ethtool', '-g', name]).stdout),
    rssShares: parseRssShares(run(['ethtool', '-x', name]).stdout, rxQueues),
    offloads: parseOffloads(run(['ethtool', '-k', name]).stdout),
    numaNode: node === '' ? null : Number(node),
    interrupts: device === null ? [] : readInterrupts(device),
  };
}

/** null: not hardware. */
function deviceFolder(name: string): string | null {
  try {
    return realpathSync(`/sys/class/net/${name}/device`);
  } catch {
    return null;
  }
}
