/**
 * A director on tables of its own behind a real admin socket, without a NIC: what verbs talk to.
 * Connections are entries written as a worker would.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ToolIo } from '#xvs/cli/io';
import { runXvs } from '#xvs/cli/verbs/main';
import { applyWhole, parseApplyRequest } from '#xvs/control/apply';
import { ConnectionDump } from '#xvs/control/connectionDump';
import { parseConnectionQuery } from '#xvs/control/connectionQuery';
import { Director } from '#xvs/control/director';
import { listServices } from '#xvs/control/listing';
import { Marks, markRoutes } from '#xvs/control/mark/marks';
import { overviewRoutes } from '#xvs/control/overview/routes';
import { Pool } from '#xvs/control/pool';
import type { StartupSettings } from '#xvs/control/protocol';
import { AdminSocket } from '#xvs/control/socket';
import { sysctlRoutes } from '#xvs/control/sysctlRoutes';
import { addressWords } from '#xvs/net/address';
import { CONNECTION, EXTENSION, kindOf6 } from '#xvs/table/connection';
import { attachTables, createMemory, type DirectorMemory } from '#xvs/table/memory';
import { STATE_NAMES } from '#xvs/table/state';

/** The tick at which every listing of these tests is made. */
export const NOW = 1000;
const AT = CONNECTION.at;
const PROTOCOLS = { TCP: 6, UDP: 17 } as const;

export interface Entry {
  readonly protocol?: keyof typeof PROTOCOLS;
  readonly client: string;
  readonly clientPort: number;
  readonly virtual: string;
  readonly virtualPort: number;
  readonly real: string;
  readonly realPort: number;
  readonly state: string;
  readonly seconds: number;
  /** Default 0. */
  readonly age?: number;
}

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Stand {
  readonly folder = mkdtempSync(join(tmpdir(), 'xvs-verbs-'));
  readonly memory: DirectorMemory;
  readonly director: Director;
  readonly dump: ConnectionDump;
  readonly marks = new Marks(['eth0'], () => {});
  readonly #pool = new Pool();
  readonly #admin: AdminSocket;

  constructor(connectionCapacity: number, startup: StartupSettings = {}) {
    this.memory = createMemory({ workers: 1, connectionCapacity, hashSeed: 1 });
    this.director = new Director(attachTables(this.memory, () => {}));
    this.dump = new ConnectionDump(this.memory, this.#pool);
    const { director, dump, marks } = this;
    this.#admin = new AdminSocket(
      join(this.folder, 'xvs.sock'),
      {
        services: () => listServices(director),
        connections: (query) => dump.connections(NOW, parseConnectionQuery(query)),
        timeouts: () => director.timeouts,
        execute: (command) => director.execute(command),
      },
      {
        'POST /v1/apply': (body) =>
          applyWhole({ director, marks, startup }, parseApplyRequest(body)),
        ...markRoutes(marks),
        ...sysctlRoutes(director.sysctls),
        ...overviewRoutes({
          director,
          // No NIC, no program: what it would have decided on.
          program: { verdicts: () => [5, 7] },
          verdictNames: ['pass_no_match', 'redirect_service'],
          ...{ socketCounters: [], interfaces: ['eth0'], workers: [] },
        }),
      },
    );
  }

  get socket(): string {
    return this.#admin.path;
  }

  open(): Promise<void> {
    return this.#admin.open();
  }

  async close(): Promise<void> {
    await this.#admin.close();
    await this.#pool.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  addConnection(entry: Entry): void {
    const { connections } = this.director.tables;
    const slot = connections.allocate(0);
    const words = connections.entries.subarray(slot << 4, (slot + 1) << 4);
    words.fill(0);
    const protocol = PROTOCOLS[entry.protocol ?? 'TCP'];
    const isIpv6 = entry.client.includes(':');
    for (const role of ['client', 'virtual', 'real'] as const) {
      const address = addressWords(entry[role]);
      words[AT[role]] = isIpv6 ? address[3]! : address[0]!;
      const first = (slot << 4) + EXTENSION.at[role];
      // Stale words of an earlier connection must not show in an IPv4 one.
      connections.extension.set(isIpv6 ? address.subarray(0, 3) : [7, 7, 7], first);
    }
    words[AT.clientPorts] = (entry.clientPort << 16) | entry.virtualPort;
    words[AT.reply] = words[AT.client]!;
    words[AT.replyPorts] = (entry.realPort << 16) | entry.clientPort;
    words[AT.state] = STATE_NAMES.indexOf(entry.state);
    words[AT.expiresAt] = NOW + entry.seconds * 10;
    connections.born[slot] = NOW - (entry.age ?? 0) * 10;
    words[AT.identity] = isIpv6 ? kindOf6(protocol) : protocol;
  }

  /** Runs `xvs` in this process against this director. */
  async run(words: readonly string[], stdin = ''): Promise<Outcome> {
    let stdout = '';
    let stderr = '';
    const io: ToolIo = {
      program: 'xvs',
      environment: { XVS_SOCKET: this.socket },
      stdout: (text) => {
        stdout += text;
      },
      stderr: (text) => {
        stderr += text;
      },
      stdin: () => stdin,
    };
    const status = await runXvs(words, io);
    return { status, stdout, stderr };
  }
}
