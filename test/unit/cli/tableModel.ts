/**
 * The smallest table that answers as IPVS's control interface does: what the command line is
 * tested against without a director. It keeps configuration only and knows the checks that the
 * recorded cases meet. Served over a Unix socket, so that the tool's own client is used.
 */
import { createServer, type Server } from 'node:http';
import type { SyncCommand } from '#xvs/cli/request';
import type {
  Command,
  ServerListing,
  ServiceKey,
  ServiceList,
  ServiceListing,
  Statistics,
  Timeouts,
} from '#xvs/control/protocol';

const SCHEDULERS = new Set('rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos'.split(' '));
const INTERFACES = new Set(['d0']);
const ZERO: Statistics = {
  connections: 0,
  inPackets: 0,
  outPackets: 0,
  inBytes: 0,
  outBytes: 0,
};

type Mutable = { -readonly [Key in keyof ServiceListing]: ServiceListing[Key] } & {
  servers: ServerListing[];
};
type SyncDaemon = Extract<SyncCommand, { command: 'start-daemon' }>;
type Answer = { errno: string } | null;

function refused(errno: string): Answer {
  return { errno };
}

function keyText(key: ServiceKey): string {
  return key.fwmark !== 0
    ? `mark ${key.fwmark} ${key.family}`
    : `${key.protocol} ${key.address} ${key.port}`;
}

export class TableModel {
  readonly #services = new Map<string, Mutable>();
  readonly #daemons = new Map<string, SyncDaemon>();
  #timeouts: Timeouts = { tcp: 900, tcpFin: 120, udp: 300 };

  reset(): void {
    this.#services.clear();
    this.#daemons.clear();
    this.#timeouts = { tcp: 900, tcpFin: 120, udp: 300 };
  }

  /** Newest first, as IPVS's buckets and server lists are. */
  list(): ServiceList {
    return { connectionTableSize: 4096, services: [...this.#services.values()].reverse() };
  }

  timeouts(): Timeouts {
    return this.#timeouts;
  }

  daemons(): readonly SyncDaemon[] {
    return [...this.#daemons.values()];
  }

  apply(command: Command | SyncCommand): Answer {
    switch (command.command) {
      case 'flush':
        this.#services.clear();
        return null;
      case 'zero':
        if (command.service === null) return null;
        return this.#services.has(keyText(command.service)) ? null : refused('ESRCH');
      case 'set-timeouts': {
        const { tcp, tcpFin, udp } = command.timeouts;
        const old = this.#timeouts;
        this.#timeouts = {
          tcp: tcp || old.tcp,
          tcpFin: tcpFin || old.tcpFin,
          udp: udp || old.udp,
        };
        return null;
      }
      case 'start-daemon':
      case 'stop-daemon':
        return this.#sync(command);
      case 'add-local-address':
      case 'delete-local-address':
        throw new Error(`${command.command}: ipvsadm has no such command`);
      case 'add-service':
      case 'edit-service':
      case 'delete-service':
        return this.#service(command);
      default:
        return this.#server(command);
    }
  }

  #sync(command: SyncCommand): Answer {
    if (command.command === 'stop-daemon') {
      return this.#daemons.delete(command.role) ? null : refused('ESRCH');
    }
    if (this.#daemons.has(command.role)) return refused('EEXIST');
    if (!INTERFACES.has(command.interface)) return refused('ENODEV');
    const { maxLength, group, port, ttl } = command;
    this.#daemons.set(command.role, {
      ...command,
      maxLength: maxLength || 1472,
      group: group || '224.0.0.81',
      port: port || 8848,
      ttl: ttl || 1,
    });
    return null;
  }

  #service(
    command: Extract<Command, { command: 'add-service' | 'edit-service' | 'delete-service' }>,
  ): Answer {
    const key = keyText(command.service);
    const found = this.#services.get(key);
    if (command.command === 'delete-service') {
      return this.#services.delete(key) ? null : refused('ESRCH');
    }
    if (command.command === 'add-service' && found !== undefined) return refused('EEXIST');
    if (command.command === 'edit-service' && found === undefined) return refused('ESRCH');
    if (!SCHEDULERS.has(command.settings.scheduler)) return refused('ENOENT');
    if (found !== undefined) Object.assign(found, command.settings);
    else {
      this.#services.set(key, {
        ...command.service,
        ...command.settings,
        statistics: ZERO,
        rates: ZERO,
        servers: [],
      });
    }
    return null;
  }

  #server(
    command: Extract<Command, { command: 'add-server' | 'edit-server' | 'delete-server' }>,
  ): Answer {
    const service = this.#services.get(keyText(command.service));
    if (service === undefined) return refused('ESRCH');
    const at = service.servers.findIndex(
      ({ address, port }) => address === command.server.address && port === command.server.port,
    );
    if (command.command === 'delete-server') {
      if (at < 0) return refused('ENOENT');
      service.servers.splice(at, 1);
      return null;
    }
    const { lowerThreshold, upperThreshold } = command.settings;
    if (lowerThreshold > upperThreshold) return refused('ERANGE');
    if (command.command === 'edit-server') {
      const found = service.servers[at];
      if (found === undefined) return refused('ENOENT');
      service.servers[at] = { ...found, ...command.settings };
      return null;
    }
    if (at >= 0) return refused('EEXIST');
    service.servers.unshift({
      ...command.server,
      ...command.settings,
      active: 0,
      inactive: 0,
      persistent: 0,
      overloaded: false,
      statistics: ZERO,
      rates: ZERO,
    });
    return null;
  }
}

function answerGet(model: TableModel, path: string): unknown {
  switch (path) {
    case '/v1/services':
      return model.list();
    case '/v1/timeouts':
      return model.timeouts();
    case '/v1/daemons':
      return { daemons: model.daemons() };
    case '/v1/connections':
      return { connections: [] };
    default:
      return null;
  }
}

/** Serves `model` at `socketPath` until closed; counts connections in `model`'s stead. */
export async function serveModel(
  model: TableModel,
  socketPath: string,
): Promise<{ server: Server; connections(): number; close(): Promise<void> }> {
  let connections = 0;
  const server = createServer(async (request, response) => {
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    if (request.method === 'GET') {
      const body = answerGet(model, request.url?.replace(/\?.*/, '') ?? '');
      send(body === null ? 404 : 200, body);
      return;
    }
    let text = '';
    for await (const part of request) text += part;
    const refusal = model.apply(JSON.parse(text) as Command);
    if (refusal === null) send(200, {});
    else send(409, { code: 'ERR_REFUSED', errno: refusal.errno, message: 'refused' });
  });
  server.on('connection', () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return {
    server,
    connections: () => connections,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}
