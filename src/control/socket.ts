/**
 * The admin socket: HTTP and JSON over a Unix socket (mode 0660), the one door for every tool.
 * What it speaks is in protocol.ts.
 */
import { chmodSync, existsSync, mkdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { parseCommand } from './command';
import { DirectorError } from './error';
import type { Change, Witness } from './log/audit';
import type { Command, ErrorBody, ServiceList, Timeouts } from './protocol';
import { send as sendPieces } from './slice';

const COMMANDS = 'POST /v1/commands';
const COMMAND_BYTES_MAX = 1 << 20;
/** Of a route's body: a table of some hundred thousand real servers. */
const BODY_BYTES_MAX = 1 << 28;

/** What the socket serves. */
export interface Administration {
  /** The list, or its JSON in pieces. */
  services(query: URLSearchParams): ServiceList | AsyncIterable<string>;
  /** JSON of a ConnectionList, or of ConnectionCounts. */
  connections(query: URLSearchParams): Promise<Uint8Array | AsyncIterable<string | Uint8Array>>;
  timeouts(): Timeouts;
  execute(command: Command): void;
}

/** Answers one request; the value goes back as JSON. Throws a DirectorError to refuse. */
export type Route = (body: string, query: URLSearchParams) => unknown;
/**
 * To be told what is to be changed before it is, and once more with the outcome if there is more
 * to say than that it was done. null: nothing is, it was only asked.
 */
export type Note = (change: Change | null) => void;
/** One that changes something. `tool`: what asks for it, should it ask for no change there is. */
export interface ChangeRoute {
  readonly tool: string;
  change(body: string, note: Note): unknown;
}
/** By "METHOD /path". */
export type Routes = Readonly<Record<string, Route | ChangeRoute>>;

export class AdminSocket {
  readonly path: string;
  readonly #administration: Administration;
  readonly #routes: Routes;
  readonly #witness: Witness | null;
  readonly #server: Server;
  #madeDirectory = false;

  /** `routes`: what is served beyond `administration`. `witness`: is told of every request. */
  constructor(
    path: string,
    administration: Administration,
    routes: Routes = {},
    witness: Witness | null = null,
  ) {
    this.path = path;
    this.#administration = administration;
    this.#routes = { [COMMANDS]: this.#commandRoute(), ...routes };
    this.#witness = witness;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  /** Listens. A socket that nobody answers on is left over from a dead daemon, and replaced. */
  async open(): Promise<void> {
    if (!existsSync(dirname(this.path))) {
      mkdirSync(dirname(this.path), { recursive: true, mode: 0o755 });
      this.#madeDirectory = true;
    }
    if (existsSync(this.path)) {
      if (await isAnswered(this.path)) {
        throw new Error(`${this.path}: another xvsd is running`);
      }
      unlinkSync(this.path);
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.path, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    chmodSync(this.path, 0o660);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    if (this.#madeDirectory) {
      try {
        rmdirSync(dirname(this.path));
      } catch {
        // Somebody else has put something there meanwhile: it stays.
      }
    }
  }

  /** Told before the answer goes out: who has that finds the line. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, socket } = request;
    const [path, search = ''] = (request.url ?? '/').split('?');
    const name = `${method} ${path}`;
    const route = Object.hasOwn(this.#routes, name) ? this.#routes[name] : undefined;
    let change: Change | null = null;
    const note: Note = (noted) => {
      change = noted;
    };
    if (typeof route === 'object') {
      note({ words: route.tool, rules: 0 });
      this.#witness?.meet(socket);
    }
    const tell = (error: ErrorBody | null): void => {
      if (change === null) this.#witness?.asked(socket, name, error);
      else this.#witness?.changed(socket, change, error);
    };
    try {
      const answer = await this.#handle(request, name, new URLSearchParams(search), route, note);
      tell(null);
      if (isPieces(answer)) await sendInPieces(response, answer);
      else send(response, 200, answer);
    } catch (error) {
      const body = errorBody(error);
      tell(body);
      send(response, body.code === 'ERR_INTERNAL' ? 500 : 400, body);
    }
  }

  async #handle(
    request: IncomingMessage,
    name: string,
    query: URLSearchParams,
    route: Route | ChangeRoute | undefined,
    note: Note,
  ): Promise<unknown> {
    switch (name) {
      case 'GET /v1/services':
        return this.#administration.services(query);
      case 'GET /v1/connections':
        return this.#administration.connections(query);
      case 'GET /v1/timeouts':
        return this.#administration.timeouts();
    }
    if (route === undefined) throw new DirectorError('ERR_REQUEST', `${name} is not served here`);
    const bytesMax = name === COMMANDS ? COMMAND_BYTES_MAX : BODY_BYTES_MAX;
    const body = await readBody(request, bytesMax);
    return typeof route === 'function' ? route(body, query) : route.change(body, note);
  }

  #commandRoute(): ChangeRoute {
    return {
      tool: 'xvsadm',
      change: (body, note) => {
        const command = parseCommand(body);
        // Without a witness nobody hears the words.
        const words = this.#witness?.words(command) ?? '';
        note({ words, rules: 1 });
        this.#administration.execute(command);
        return {};
      },
    };
  }
}

async function readBody(request: IncomingMessage, bytesMax: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += (part as Buffer).length;
    if (bytes > bytesMax) {
      throw new DirectorError('ERR_REQUEST', `the body is longer than ${bytesMax} bytes`);
    }
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString('utf8');
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const bytes = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': bytes.length,
  });
  response.end(bytes);
}

function isPieces(answer: unknown): answer is AsyncIterable<string | Uint8Array> {
  return typeof answer === 'object' && answer !== null && Symbol.asyncIterator in answer;
}

async function sendInPieces(
  response: ServerResponse,
  pieces: AsyncIterable<string | Uint8Array>,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' });
  try {
    await sendPieces(response, pieces);
  } catch {
    // Its head is out: only the connection's end can say that the rest does not come.
    response.destroy();
  }
}

/** As the socket answers it. */
export function errorBody(error: unknown): ErrorBody {
  if (error instanceof DirectorError) {
    return { code: error.code, errno: error.errno, message: error.message };
  }
  return { code: 'ERR_INTERNAL', errno: 'EIO', message: (error as Error).message };
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
