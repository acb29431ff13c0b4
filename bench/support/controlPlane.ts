/**
 * The daemon's control plane in a bench's own process, on the tables of the bench's worker:
 * director, admin socket, exporter. It has one service from the beginning that always stays: with
 * the last one gone live connections would be the host's.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applyWhole, parseApplyRequest } from '#xvs/control/apply';
import { Director } from '#xvs/control/director';
import { streamServices } from '#xvs/control/listing';
import { NO_LOG } from '#xvs/control/log/metrics';
import { Marks } from '#xvs/control/mark/marks';
import { createExporter } from '#xvs/control/metrics';
import { createMetricsServer } from '#xvs/control/metricsServer';
import type { Command } from '#xvs/control/protocol';
import { type Administration, AdminSocket } from '#xvs/control/socket';
import { onEnd } from '#xvs/lab/cleanUp';
import { addon } from '#xvs/port/addon';
import { attachTables, type DirectorMemory } from '#xvs/table/memory';

/** The director keeps what was removed for two minutes. */
const TRASH_MS = 121_000;

/** Files of a bench, in a folder that goes with it. */
export class Scratch {
  readonly folder: string;
  readonly #callOff: () => void;

  constructor(bench: string) {
    this.folder = mkdtempSync(join(tmpdir(), `xvs-bench-${bench}-`));
    this.#callOff = onEnd(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  /** The file that has the text now. */
  write(name: string, text: string): string {
    const file = join(this.folder, name);
    writeFileSync(file, text);
    return file;
  }

  close(): void {
    this.#callOff();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface ControlPlaneOptions {
  readonly memory: DirectorMemory;
  /** Address of the service that stays. */
  readonly keptAddress: string;
  /** The worker's clock. */
  readonly tick: () => number;
  readonly connections: Administration['connections'];
  readonly changed?: (director: Director, command: Command | null) => void;
  /** Counts of the XDP program, where there is one. */
  readonly verdicts?: () => readonly number[];
}

export class BenchControlPlane {
  readonly socket: string;
  readonly #director: Director;
  readonly #admin: AdminSocket;
  readonly #exporter: Server;
  #skippedMs = 0;

  constructor(folder: string, options: ControlPlaneOptions) {
    const { memory, changed, connections, keptAddress } = options;
    const director: Director = new Director(
      attachTables(memory, () => {}),
      (command) => changed?.(director, command),
      () => Date.now() + this.#skippedMs,
    );
    director.execute({
      command: 'add-service',
      service: { family: 4, protocol: 'tcp', address: keptAddress, port: 80, fwmark: 0 },
      settings: {
        ...{ scheduler: 'rr', persistentTimeout: 0, netmask: '255.255.255.255', onePacket: false },
        ...{ schedulerFlags: [false, false, false], persistenceEngine: '' },
      },
    });
    const marks = new Marks(['front', 'back'], () => {});
    this.socket = join(folder, 'xvs.sock');
    this.#director = director;
    this.#admin = new AdminSocket(
      this.socket,
      {
        services: (query) => streamServices(director, query.get('brief') === '1'),
        connections,
        timeouts: () => director.timeouts,
        execute: (command) => director.execute(command),
      },
      {
        'POST /v1/apply': (body) =>
          applyWhole({ director, marks, startup: {} }, parseApplyRequest(body)),
      },
    );
    this.#exporter = exporterOf(director, options);
  }

  /** Resolves when the admin socket and the exporter answer. */
  async open(): Promise<void> {
    await this.#admin.open();
    await new Promise<void>((resolve, reject) => {
      this.#exporter.once('error', reject);
      this.#exporter.listen(0, '127.0.0.1', () => resolve());
    });
  }

  /** Where the exporter answers. */
  get metricsUrl(): string {
    const { port } = this.#exporter.address() as AddressInfo;
    return `http://127.0.0.1:${port}/metrics`;
  }

  /** Services and real servers there are, less the one that stays. */
  get counts(): { readonly services: number; readonly servers: number } {
    const { services } = this.#director;
    const servers = services.reduce((sum, service) => sum + service.servers.length, 0);
    return { services: services.length - 1, servers };
  }

  /** As if two minutes had passed: what was removed does not come back from the trash. */
  forget(): void {
    this.#skippedMs += TRASH_MS;
    this.#director.emptyTrash();
  }

  async close(): Promise<void> {
    await this.#admin.close();
    this.#exporter.closeAllConnections();
    this.#exporter.close();
  }
}

function exporterOf(director: Director, { tick, verdicts }: ControlPlaneOptions): Server {
  const exporter = createExporter({
    director,
    program: { verdicts: () => [...(verdicts?.() ?? [])] },
    ...{ verdictNames: verdicts === undefined ? [] : addon.XDP_VERDICTS },
    ...{ socketCounters: addon.SOCKET_COUNTERS, interfaces: [], xdpModes: new Map(), workers: [] },
    ...{ log: NO_LOG, nowTick: tick },
  });
  return createMetricsServer(exporter, () => true);
}
