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
import type { Command, ErrorBody, ServiceList, Timeouts } from './protocol';
import { send as sendPieces } from './slice';

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
/** By "METHOD /path". */
export type Routes = Readonly<Record<string, Route>>;

export class AdminSocket {
  readonly path: string;
  readonly #administration: Administration;
  readonly #routes: Routes;
  readonly #server: Server;
  #madeDirectory = false;

  /** `routes`: what is served beyond `administration`. */
  constructor(path: string, administration: Administration, routes: Routes = {}) {
    this.path = path;
    this.#administration = administration;
    this.#routes = routes;
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

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const answer = await this.#handle(request);
      if (isPieces(answer)) await sendInPieces(response, answer);
      else send(response, 200, answer);
    } catch (error) {
      const body = errorBody(error);
      send(response, body.code === 'ERR_INTERNAL' ? 500 : 400, body);
    }
  }

  async #handle(request: IncomingMessage): Promise<unknown> {
    const [path, search = ''] = (request.url ?? '/').split('?');
    const query = new URLSearchParams(search);
    const name = `${request.method} ${path}`;
    switch (name) {
      case 'GET /v1/services':
        return this.#administration.services(query);
      case 'GET /v1/connections':
        return this.#administration.connections(query);
      case 'GET /v1/timeouts':
        return this.#administration.timeouts();
      case 'POST /v1/commands':
        this.#administration.execute(parseCommand(await readBody(request, COMMAND_BYTES_MAX)));
        return {};
    }
    const route = Object.hasOwn(this.#routes, name) ? this.#routes[name] : undefined;
    if (route !== undefined) return route(await readBody(request, BODY_BYTES_MAX), query);
    throw new DirectorError('ERR_REQUEST', `${name} is not served here`);
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

function errorBody(error: unknown): ErrorBody {
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
