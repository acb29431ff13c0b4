/** Sysctls over the admin socket: listed, and set, all of a request's or none. */
import { z } from 'zod';
import { parseBody } from './command';
import type { SysctlList } from './protocol';
import type { Routes } from './socket';
import type { Sysctls } from './sysctl';

const REQUEST = z.record(z.string().max(64), z.int());

/** What the admin socket serves of them. */
export function sysctlRoutes(sysctls: Sysctls): Routes {
  return {
    'GET /v1/sysctl': (): SysctlList => ({ values: sysctls.values }),
    'POST /v1/sysctl': {
      tool: 'xvs sysctl',
      change: (body, note) => {
        const values = parseBody(body, REQUEST, 'sysctl');
        const words = Object.entries(values).map(([name, value]) => ` ${name}=${value}`);
        note({ words: `xvs sysctl${words.join('')}`, rules: words.length });
        sysctls.set(values);
        return {};
      },
    },
  };
}
