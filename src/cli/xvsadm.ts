/**
 * xvsadm: ipvsadm's command line on the admin socket. Our own words, taken out before the grammar
 * sees the line: `--socket PATH` (or XVS_SOCKET) and, for listings, `--json`. Rooms that only some
 * commands need are loaded by `require` when they do: every file costs start-up time.
 */
import type {
  Command,
  ConnectionList,
  ErrorBody,
  ServiceKey,
  ServiceList,
  Timeouts,
} from '../control/protocol';
import { canonicalAddress, parseIpv4Loose } from './addressText';
import { AdminClient, type Answer, UnreachableError } from './client';
import type { Operation } from './errors';
import { parseRequest } from './grammar';
import type { ToolIo } from './io';
import {
  lookUpHost,
  lookUpNames,
  type NameView,
  NUMERIC_NAMES,
  nameView,
  systemNames,
  UnresolvedHost,
} from './names';
import { tryHelp } from './parse';
import {
  EXIT_LISTING,
  EXIT_REFUSED,
  EXIT_USAGE,
  type ListFormat,
  type Request,
  type SyncCommand,
  UsageError,
  usage,
} from './request';

export const DEFAULT_SOCKET = '/run/xvs/xvs.sock';

/** Of a list that shows neither statistics nor rates. */
const BRIEF = '?brief=1';

export interface OwnOptions {
  readonly socketPath: string;
  readonly json: boolean;
  readonly words: readonly string[];
}

/** Takes our own options out of the line. Throws UsageError. */
export function takeOwnOptions(
  line: readonly string[],
  environment: ToolIo['environment'],
): OwnOptions {
  const words: string[] = [];
  let socketPath = environment['XVS_SOCKET'] || DEFAULT_SOCKET;
  let json = false;
  for (let at = 0; at < line.length; at++) {
    const word = line[at] ?? '';
    if (word === '--json') json = true;
    else if (word.startsWith('--socket=')) socketPath = word.slice('--socket='.length);
    else if (word === '--socket') {
      at += 1;
      const path = line[at];
      if (path === undefined) throw usage('--socket: missing argument');
      socketPath = path;
    } else words.push(word);
  }
  if (socketPath === '') throw usage('--socket: the path of the admin socket is empty');
  return { socketPath, json, words };
}

/** Thrown when the director refuses; carries what is to be printed. */
class RefusedError extends Error {}

function checked(operation: Operation, answer: Answer): unknown {
  if (answer.status >= 200 && answer.status < 300) return answer.body;
  const body = (answer.body ?? {}) as Partial<ErrorBody>;
  const { code = '', errno = '', message = `the director answered ${answer.status}` } = body;
  const { refusalText } = require('./errors') as typeof import('./errors');
  throw new RefusedError(refusalText(operation, { code, errno, message }));
}

function sameService(left: ServiceKey, right: ServiceKey): boolean {
  if (left.fwmark !== 0 || right.fwmark !== 0) {
    return left.fwmark === right.fwmark && left.family === right.family;
  }
  const leftAddress = canonicalAddress(left.address)?.address ?? left.address;
  const rightAddress = canonicalAddress(right.address)?.address ?? right.address;
  return (
    left.protocol === right.protocol && left.port === right.port && leftAddress === rightAddress
  );
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** One run of the tool: the connection is opened when a line needs it, and used for all. */
class Session {
  readonly #io: ToolIo;
  readonly #socketPath: string;
  readonly #hosts = new Map<string, number | null>();
  #client: AdminClient | null = null;

  constructor(io: ToolIo, socketPath: string) {
    this.#io = io;
    this.#socketPath = socketPath;
  }

  close(): void {
    this.#client?.close();
  }

  /** Parses a line, looking up host names as the grammar meets them. Throws UsageError. */
  async parse(words: readonly string[], json: boolean): Promise<Request> {
    const source = this.#io.names?.source ?? systemNames(this.#hosts);
    for (;;) {
      try {
        return parseRequest(words, this.#io.program, source, json);
      } catch (error) {
        if (!(error instanceof UnresolvedHost)) throw error;
        const address = await lookUpHost(error.host);
        this.#hosts.set(error.host, address === null ? null : parseIpv4Loose(address));
      }
    }
  }

  /** Exit status of one request. Throws UsageError, UnreachableError. */
  async run(request: Request, restoring: boolean): Promise<number> {
    switch (request.kind) {
      case 'help':
      case 'version': {
        const { helpText, VERSION_LINE } = require('./help') as typeof import('./help');
        this.#io.stdout(request.kind === 'help' ? helpText(this.#io.program) : VERSION_LINE);
        return 0;
      }
      case 'restore':
        if (restoring) throw tryHelp(this.#io.program);
        return this.#restore();
      case 'command':
        return this.#reporting(EXIT_REFUSED, () => this.#change(request.command));
      default:
        return this.#reporting(EXIT_LISTING, () => this.#list(request));
    }
  }

  async #reporting(exitStatus: number, work: () => Promise<void>): Promise<number> {
    try {
      await work();
      return 0;
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      this.#io.stderr(`${error.message}\n`);
      return exitStatus;
    }
  }

  async #ask(method: 'GET' | 'POST', path: string, body: unknown = null): Promise<Answer> {
    this.#client ??= await AdminClient.connect(this.#socketPath);
    return this.#client.request(method, path, body);
  }

  async #change(command: Command | SyncCommand): Promise<void> {
    checked(command.command, await this.#ask('POST', '/v1/commands', command));
  }

  async #list(request: Exclude<Request, { kind: 'command' | 'restore' | 'help' | 'version' }>) {
    switch (request.kind) {
      case 'save':
        return this.#save(request.numeric);
      case 'list-services':
        return this.#listServices(request.service, request.format);
      case 'list-connections':
        return this.#listConnections(request.format);
      case 'list-local-addresses':
        return this.#listLocalAddresses(request.service, request.json);
      case 'list-timeouts':
        return this.#listTimeouts(request.format);
      case 'list-daemons':
        return this.#listDaemons(request.format);
    }
  }

  async #services(query: string): Promise<ServiceList> {
    return checked('list', await this.#ask('GET', `/v1/services${query}`)) as ServiceList;
  }

  async #save(numeric: boolean): Promise<void> {
    const { arrangeServices } = require('./print') as typeof import('./print');
    const { printRules } = require('./save') as typeof import('./save');
    const list = arrangeServices(await this.#services(BRIEF), true);
    this.#io.stdout(printRules(list, await this.#serviceNames(list, numeric)));
  }

  async #listServices(key: ServiceKey | null, format: ListFormat): Promise<void> {
    const { arrangeServices, printServices } = require('./print') as typeof import('./print');
    const { view, json } = format;
    const hasNumbers = json || view === 'stats' || view === 'rate';
    const all = await this.#services(hasNumbers ? '' : BRIEF);
    const services =
      key === null ? all.services : all.services.filter((service) => sameService(service, key));
    if (key !== null && services.length === 0) {
      const { refusalText } = require('./errors') as typeof import('./errors');
      throw new RefusedError(refusalText('list', { code: '', errno: 'ESRCH', message: '' }));
    }
    const list = arrangeServices({ ...all, services }, format.sorted);
    if (json) this.#io.stdout(jsonText(list));
    else {
      const names = await this.#serviceNames(list, format.numeric);
      this.#io.stdout(printServices(list, key === null, format, names));
    }
  }

  async #listLocalAddresses(key: ServiceKey | null, json: boolean): Promise<void> {
    const { arrangeServices } = require('./print') as typeof import('./print');
    const { printLocalAddresses } =
      require('./printLocalAddresses') as typeof import('./printLocalAddresses');
    const all = await this.#services('');
    const services =
      key === null ? all.services : all.services.filter((service) => sameService(service, key));
    if (key !== null && services.length === 0) {
      const { refusalText } = require('./errors') as typeof import('./errors');
      throw new RefusedError(refusalText('list', { code: '', errno: 'ESRCH', message: '' }));
    }
    const arranged = arrangeServices({ ...all, services }, true).services;
    if (!json) this.#io.stdout(printLocalAddresses(arranged));
    else {
      const shown = arranged.map(({ family, protocol, address, port, fwmark, localAddresses }) => ({
        ...{ family, protocol, address, port, fwmark },
        localAddresses: localAddresses ?? [],
      }));
      this.#io.stdout(jsonText({ services: shown }));
    }
  }

  async #listConnections(format: ListFormat): Promise<void> {
    const body = checked('list', await this.#ask('GET', '/v1/connections')) as ConnectionList;
    if (format.json) {
      this.#io.stdout(jsonText(body));
      return;
    }
    const { printConnections } =
      require('./printConnections') as typeof import('./printConnections');
    const addresses = new Set<string>();
    for (const { client, virtual, real } of body.connections) {
      addresses.add(client).add(virtual).add(real);
    }
    const names = await this.#names(addresses, format.numeric);
    const withEngine = format.view === 'persistent-conn';
    this.#io.stdout(printConnections(body.connections, withEngine, names));
  }

  async #listTimeouts(format: ListFormat): Promise<void> {
    const timeouts = checked('list', await this.#ask('GET', '/v1/timeouts')) as Timeouts;
    const { printTimeouts } = require('./print') as typeof import('./print');
    this.#io.stdout(format.json ? jsonText(timeouts) : printTimeouts(timeouts));
  }

  async #listDaemons(format: ListFormat): Promise<void> {
    const { printSyncDaemons } = require('./print') as typeof import('./print');
    const answer = await this.#ask('GET', '/v1/daemons');
    // A director without connection sync runs no sync daemon, which is listed as nothing.
    const unknown =
      answer.status === 404 || (answer.body as Partial<ErrorBody> | null)?.code === 'ERR_REQUEST';
    const body = unknown ? { daemons: [] } : checked('list', answer);
    const { daemons } = body as { daemons: Parameters<typeof printSyncDaemons>[0] };
    this.#io.stdout(format.json ? jsonText({ daemons }) : printSyncDaemons(daemons));
  }

  async #serviceNames(list: ServiceList, numeric: boolean): Promise<NameView> {
    const addresses = new Set<string>();
    for (const service of list.services) {
      if (service.fwmark === 0) addresses.add(service.address);
      for (const server of service.servers) addresses.add(server.address);
    }
    return this.#names(addresses, numeric);
  }

  async #names(addresses: ReadonlySet<string>, numeric: boolean): Promise<NameView> {
    if (numeric) return NUMERIC_NAMES;
    return this.#io.names?.view ?? nameView(await lookUpNames(addresses));
  }

  /**
   * A refused line is reported and the rest goes on, after a word that is no option too; a line
   * that makes no sense otherwise ends the run, and so does a listing that fails.
   */
  async #restore(): Promise<number> {
    const { splitRules } = require('./restore') as typeof import('./restore');
    let status = 0;
    // Without a director even an empty table is not restored.
    this.#client ??= await AdminClient.connect(this.#socketPath);
    for (const { words } of splitRules(this.#io.stdin())) {
      try {
        const request = await this.parse(words, false);
        status = await this.run(request, true);
        if (request.kind === 'help' || request.kind === 'version') return status;
        if (status === EXIT_LISTING) return status;
      } catch (error) {
        if (!(error instanceof UsageError) || error.endsRestore) throw error;
        this.#io.stderr(`${error.message}\n`);
        status = error.exitStatus;
      }
    }
    return status;
  }
}

/** Runs the tool on the words after its name; its exit status. */
export async function runXvsadm(line: readonly string[], io: ToolIo): Promise<number> {
  let session: Session | null = null;
  let socketPath = DEFAULT_SOCKET;
  try {
    const own = takeOwnOptions(line, io.environment);
    socketPath = own.socketPath;
    session = new Session(io, socketPath);
    // Without a command the tool lists, by name.
    const words = own.words.length === 0 ? ['-L'] : own.words;
    return await session.run(await session.parse(words, own.json), false);
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr(`${error.message}\n`);
      return error.exitStatus;
    }
    if (error instanceof UnreachableError) {
      const { unreachableText } = require('./errors') as typeof import('./errors');
      io.stderr(unreachableText(error.errno, socketPath));
      return EXIT_USAGE;
    }
    throw error;
  } finally {
    session?.close();
  }
}
