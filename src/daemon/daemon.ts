/**
 * The daemon's life: everything is opened in an order in which a failure leaves the host as it
 * was, and closed in the reverse one. Frames come to us only once sockets, tables and next hops
 * stand.
 */
import { randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import { type Applied, applyWhole, parseApplyRequest } from '../control/apply';
import { countChanges, describeResult, requestOf, startupSettings } from '../control/applyText';
import { type Config, ConfigError, type Listen } from '../control/config';
import { ConnectionDump } from '../control/connectionDump';
import { parseConnectionQuery } from '../control/connectionQuery';
import { Director } from '../control/director';
import { daemonState } from '../control/doctor/state';
import { ESTIMATION_SECONDS } from '../control/estimator';
import { explainRoutes } from '../control/explain/routes';
import { streamServices } from '../control/listing';
import { LocalAddressWatch } from '../control/localAddressWatch';
import { LocalServerWatch } from '../control/localServer';
import { Audit } from '../control/log/audit';
import { DropWatch } from '../control/log/dropWatch';
import { Marks, markRoutes } from '../control/mark/marks';
import { createExporter } from '../control/metrics';
import { createMetricsServer } from '../control/metricsServer';
import { NextHopMirror } from '../control/nextHop';
import { measureCapacity } from '../control/nextHopCapacity';
import { overviewRoutes } from '../control/overview/routes';
import type { OverviewSource } from '../control/overview/source';
import { Pool } from '../control/pool';
import type { ApplyRequest, ApplyResult, Command } from '../control/protocol';
import { Redirect } from '../control/redirect';
import { RedirectFollower } from '../control/redirectFollower';
import { RedirectMacs } from '../control/redirectMacs';
import { AdminSocket, errorBody } from '../control/socket';
import { sysctlRoutes } from '../control/sysctlRoutes';
import { traceRoutes } from '../control/trace/routes';
import { createWebServer } from '../control/web/server';
import { addon, type InterfaceInfo, lineOffset, type XdpProgram } from '../port/addon';
import {
  attachTables,
  createMemory,
  type DirectorMemory,
  scatteredTables,
  type Tables,
} from '../table/memory';
import { collectGarbage } from '../worker/engine';
import {
  announceLink,
  announcePrecedence,
  announceReady,
  announceStart,
  announceWorker,
} from './announce';
import { defend } from './defend';
import { log, logger, warner } from './log';
import { type Placement, placeWorkers } from './placement';
import { NICE, putBehind } from './precedence';
import { Workers } from './workers';

const RING_SIZE = 2048;
const BUSY_POLL_BUDGET = 64;
const TRASH_INTERVAL_MS = 10_000;
const WATCH_INTERVAL_MS = 5_000;
const LOCALITY_INTERVAL_MS = 60_000;
/** Frames up to this MTU fit a chunk of 2048 bytes, longer ones one of 4096. */
const SMALL_CHUNK_MTU = 2048 - 256 - 18;
const LARGE_CHUNK_MTU = 4096 - 256 - 18;

type Close = () => Promise<void> | void;

export class Daemon {
  #closers: Close[] = [];
  #applied: Applied | undefined;
  /** For what would stall the main thread. */
  readonly #pool = new Pool();
  #ready = false;
  /** "native" or "generic" by interface. */
  readonly #xdpModes = new Map<string, string>();
  readonly #failed: (error: Error) => void;
  readonly #audit: Audit;

  /**
   * `failed`: something broke that the daemon cannot live without; it has to be closed.
   * `words`: a command as xvsadm has it, for the audit.
   */
  constructor(failed: (error: Error) => void, words: (command: Command) => string) {
    this.#failed = failed;
    this.#audit = new Audit({ credentials: addon.peerCredentials, words, log: logger });
  }

  /** Starts everything; on failure closes what was opened and throws. `file`: the config's. */
  async start(config: Config, file: string): Promise<void> {
    if (process.arch !== 'x64') {
      throw new Error(`xvsd relies on x86-64's memory order; this machine is ${process.arch}`);
    }
    try {
      await this.#open(config, file);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #open(config: Config, file: string): Promise<void> {
    const interfaces = config.interfaces.map(({ name }) => addon.interfaceInfo(name));
    const placements = placeWorkers(interfaces, config.workers.count, config.workers.cpus);
    announceStart(file, config, placements);
    const memory = createMemory({
      workers: placements.length,
      connectionCapacity: config.connections.capacity,
      hashSeed: randomBytes(4).readInt32LE(),
      nextHops: await measureCapacity(addon),
      lineOffset,
    });
    for (const buffer of scatteredTables(memory)) addon.adviseHugePages(buffer);
    // The first connections are all over it: no worker shall wait there for the kernel's pages.
    new Uint8Array(memory.connections.index).fill(0);
    const tables = attachTables(memory, () => {});
    this.#closers.push(() => this.#pool.close());
    const program = addon.loadProgram();
    this.#closers.push(() => program.close());
    const redirect = new Redirect(program);
    const names = config.interfaces.map(({ name }) => name);
    await this.#followMacs(names, redirect);
    const follower = new RedirectFollower(redirect);
    this.#closers.push(() => follower.close());
    const localAddresses = new LocalAddressWatch(warner('local_address_foreign'));
    const director = new Director(tables, (command) => {
      follower.changed(director, command);
      localAddresses.changed(director, command);
    });
    const marks = new Marks(names, (rules) => {
      tables.marks.publish(rules);
      redirect.updateMarks(rules);
    });
    this.#applied = { director, marks, startup: startupSettings(config) };
    const doorbell = addon.createEvent();
    this.#closers.push(() => doorbell.close());
    const workers = new Workers(program, tables, this.#failed);
    const mirror = await this.#followKernel(names, tables, redirect, localAddresses, workers);
    const watcher = addon.watch(doorbell.fd, () => {
      doorbell.drain();
      mirror.takeRequests();
    });
    this.#closers.push(() => watcher.close());
    director.execute({ command: 'set-timeouts', timeouts: config.timeouts });
    director.sysctls.set(config.sysctl);
    await director.prepare(config.services, this.#pool);
    director.apply(config.services);
    marks.replace(config.marks);

    const overview: OverviewSource = {
      director,
      program,
      verdictNames: addon.XDP_VERDICTS,
      socketCounters: addon.SOCKET_COUNTERS,
      interfaces: names,
      workers: workers.running,
    };
    const admin = await this.#openAdmin(config, director, memory, overview, workers, program);
    await this.#startWorkers(config, workers, placements, memory, interfaces, doorbell.fd);
    this.#attach(config, program);
    workers.connect();
    if (config.metrics !== null) {
      await this.#openMetrics(config.metrics, config, director, program, workers);
    }
    if (config.web !== null) await this.#openWeb(config.web, overview);
    this.#startTimers(director, redirect, follower);
    this.#ready = true;
    announceReady(placements.length, admin.path);
  }

  /** Links, routes, neighbours and own addresses, as the kernel has them from now on. */
  async #followKernel(
    names: readonly string[],
    tables: Tables,
    redirect: Redirect,
    localAddresses: LocalAddressWatch,
    workers: Workers,
  ): Promise<NextHopMirror> {
    const mirror = new NextHopMirror({
      addon,
      table: tables.nextHops,
      interfaces: names,
      log,
      onLocalAddresses: (addresses) => {
        redirect.updateLocalAddresses(addresses);
        localAddresses.own4(addresses);
      },
      onLocalAddresses6: (addresses) => {
        redirect.updateLocalAddresses6(addresses);
        localAddresses.own6(addresses);
      },
      onLinkChange: ({ name, link }) => announceLink(name, link.up),
      onResolved: () => workers.wake(),
    });
    this.#closers.push(() => mirror.stop());
    await mirror.start();
    return mirror;
  }

  /** The XDP program takes frames for these interfaces' MACs, as they are from now on. */
  async #followMacs(names: readonly string[], redirect: Redirect): Promise<void> {
    const macs = new RedirectMacs({
      addon,
      interfaces: names,
      onChange: (interfaces) => redirect.updateInterfaces(interfaces),
      log,
    });
    this.#closers.push(() => macs.stop());
    await macs.start();
  }

  #startTimers(director: Director, redirect: Redirect, follower: RedirectFollower): void {
    const timer = setInterval(() => {
      try {
        // Only what waits for connections to end changes with time.
        if (director.waitsForConnections || redirect.waitsForConnections) {
          director.emptyTrash();
          follower.update(director);
        }
      } catch (error) {
        log('error', 'redirect_failed', `the XDP program's maps: ${(error as Error).message}`);
      }
    }, TRASH_INTERVAL_MS);
    const estimation = setInterval(() => director.estimate(), ESTIMATION_SECONDS * 1000);
    const localServers = new LocalServerWatch(warner('local_server_translated'));
    const drops = new DropWatch(director.tables.counters, log);
    const watching = setInterval(() => {
      localServers.look(director);
      drops.look(performance.now());
    }, WATCH_INTERVAL_MS);
    const ageing = setInterval(() => director.ageLocalities(nowTick()), LOCALITY_INTERVAL_MS);
    this.#closers.push(defend(director, nowTick));
    this.#closers.push(() => {
      clearInterval(timer);
      clearInterval(estimation);
      clearInterval(ageing);
      clearInterval(watching);
    });
  }

  async #openAdmin(
    config: Config,
    director: Director,
    memory: DirectorMemory,
    overview: OverviewSource,
    workers: Workers,
    program: XdpProgram,
  ): Promise<AdminSocket> {
    const dump = new ConnectionDump(memory, this.#pool);
    const admin = new AdminSocket(
      config.socket,
      {
        services: (query) => streamServices(director, query.get('brief') === '1'),
        connections: (query) => dump.connections(nowTick(), parseConnectionQuery(query)),
        timeouts: () => director.timeouts,
        execute: (command) => director.execute(command),
      },
      {
        ...markRoutes(this.#applied!.marks),
        'GET /v1/doctor': () =>
          daemonState({
            config,
            director,
            workers: workers.running,
            socketCounters: addon.SOCKET_COUNTERS,
            xdpModes: this.#xdpModes,
            tap: tapName(),
            nowTick: nowTick(),
          }),
        ...sysctlRoutes(director.sysctls),
        ...traceRoutes(
          director.tables,
          config.interfaces.map(({ name }) => name),
        ),
        ...overviewRoutes(overview),
        ...explainRoutes({
          memory,
          director,
          interfaces: config.interfaces.map(({ name }) => name),
          lookup: (map, key) => program.mapLookup(map, key),
          nowTick,
        }),
        'POST /v1/apply': {
          tool: 'xvs apply',
          change: async (body, note) => {
            const request = parseApplyRequest(body);
            if (request.dryRun) note(null);
            const result = await this.#apply(request);
            if (!request.dryRun) note({ words: 'xvs apply', ...outcomeOf(result) });
            return result;
          },
        },
      },
      this.#audit,
    );
    await admin.open();
    this.#closers.push(() => admin.close());
    return admin;
  }

  async #startWorkers(
    config: Config,
    workers: Workers,
    placements: readonly Placement[],
    memory: DirectorMemory,
    interfaces: readonly InterfaceInfo[],
    doorbellFd: number,
  ): Promise<void> {
    const chunkSize = chunkSizeFor(interfaces);
    this.#closers.push(() => workers.stop());
    const ready = await workers.start(
      placements.map(({ cpu, interfaces }, index) => ({
        index,
        cpu,
        nice: NICE,
        mode: config.workers.mode,
        warmUp: config.workers.warmUp,
        memory,
        interfaces,
        zeroCopy: zeroCopyOf(config),
        chunkSize,
        ringSize: RING_SIZE,
        busyPollBudget: BUSY_POLL_BUDGET,
        tapName: tapName(),
        doorbellFd,
      })),
    );
    for (const [index, placement] of placements.entries()) {
      announceWorker(index, placement, ready[index]!);
    }
    announcePrecedence(putBehind(new Set(workers.running.map(({ ready }) => ready.threadId))));
    // What the start has left behind goes before there is traffic, not in its midst.
    collectGarbage();
  }

  #attach(config: Config, program: XdpProgram): void {
    for (const { name, xdp } of config.interfaces) {
      const mode = program.attach(name, xdp);
      this.#xdpModes.set(name, mode);
      log('info', 'interface_attached', `interface ${name}: XDP program attached, ${mode}`, {
        interface: name,
        mode,
      });
    }
  }

  async #openMetrics(
    listen: { readonly host: string; readonly port: number },
    config: Config,
    director: Director,
    program: XdpProgram,
    workers: Workers,
  ): Promise<void> {
    const exporter = createExporter({
      director,
      program,
      verdictNames: addon.XDP_VERDICTS,
      socketCounters: addon.SOCKET_COUNTERS,
      interfaces: config.interfaces.map(({ name }) => name),
      xdpModes: this.#xdpModes,
      workers: workers.running,
      log: logger,
      nowTick,
    });
    const server = createMetricsServer(exporter, () => this.#ready);
    await listenOn(server, listen);
    this.#closers.push(() => {
      server.closeAllConnections();
      server.close();
    });
  }

  async #openWeb(listen: Listen, overview: OverviewSource): Promise<void> {
    const server = createWebServer(overview);
    await listenOn(server, listen);
    this.#closers.push(() => {
      server.closeAllConnections();
      server.close();
    });
    const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
    log('info', 'web_open', `web page at http://${host}:${listen.port}/`);
  }

  /** A new configuration: what can be is taken over by difference; the rest needs a restart. */
  async reload(load: () => Config, file: string): Promise<void> {
    const words = `reload of ${file}`;
    try {
      const config = load();
      const result = await this.#apply({ ...requestOf(config), dryRun: false });
      logger.configure(config.log);
      this.#audit.reloaded({ words, ...outcomeOf(result) }, null);
    } catch (error) {
      const body = errorBody(error);
      const code = error instanceof ConfigError ? 'ERR_CONFIG' : body.code;
      this.#audit.reloaded({ words, rules: 0 }, { ...body, code });
      throw error;
    }
  }

  /** Whole or not at all: throws and has changed nothing when any of it cannot be done. */
  async #apply(request: ApplyRequest): Promise<ApplyResult> {
    const applied = this.#applied;
    if (!this.#ready || applied === undefined) throw new Error('xvsd is still starting');
    if (!request.dryRun) await applied.director.prepare(request.services, this.#pool);
    const result = applyWhole(applied, request);
    if (request.dryRun) return result;
    for (const key of result.needsRestart) {
      log('warn', 'restart_needed', `${key}: a restart takes the change over`, { key });
    }
    return result;
  }

  /** Gives everything back; the host's own stack takes over. */
  async close(): Promise<void> {
    this.#ready = false;
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        log('error', 'close_failed', (error as Error).message);
      }
    }
  }
}

/** What an apply has changed, for the audit. */
function outcomeOf(result: ApplyResult): { readonly rules: number; readonly outcome: string } {
  return { rules: countChanges(result), outcome: describeResult(result) };
}

function chunkSizeFor(interfaces: readonly InterfaceInfo[]): number {
  const widest = interfaces.reduce((most, info) => (info.mtu > most.mtu ? info : most));
  if (widest.mtu > LARGE_CHUNK_MTU) {
    throw new Error(
      `interface ${widest.name}: MTU ${widest.mtu} does not fit a chunk; up to ` +
        `${LARGE_CHUNK_MTU} are allowed`,
    );
  }
  return widest.mtu > SMALL_CHUNK_MTU ? 4096 : 2048;
}

/** One UMEM, one mode: an interface that must not or cannot be zero-copy decides for all. */
function zeroCopyOf(config: Config): 'auto' | 'on' | 'off' {
  const wanted = config.interfaces.map(({ zeroCopy }) => zeroCopy);
  if (wanted.includes('off')) return 'off';
  return wanted.includes('on') ? 'on' : 'auto';
}

/** The device by which frames go back to the host. */
function tapName(): string {
  return `xvs${process.pid}`;
}

/** Ticks of 100 ms of CLOCK_MONOTONIC, as workers count them. */
function nowTick(): number {
  return Number(process.hrtime.bigint() / 100_000_000n) | 0;
}

function listenOn(server: Server, listen: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen.port, listen.host, () => resolve());
  });
}
