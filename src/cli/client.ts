/**
 * Client of the admin socket: HTTP/1.1 over a Unix socket, one connection for all requests of a
 * run, one request at a time. Written on node:net because loading node:http costs a command that
 * should answer at once some milliseconds.
 */
import { createConnection, type Socket } from 'node:net';

/** The director cannot be reached, or stopped answering. */
export class UnreachableError extends Error {
  /** 'ENOENT', 'ECONNREFUSED', 'EACCES', 'ECONNRESET', 'ETIMEDOUT' ... */
  readonly errno: string;

  constructor(errno: string, socketPath: string) {
    super(`director at ${socketPath}: ${errno}`);
    this.name = 'UnreachableError';
    this.errno = errno;
  }
}

export interface Answer {
  readonly status: number;
  /** Parsed JSON; null for an empty body or one that is not JSON. */
  readonly body: unknown;
}

const SILENCE_MAXIMUM_MS = 30_000;
const HEAD_END = Buffer.from('\r\n\r\n');

interface Head {
  readonly status: number;
  readonly bodyAt: number;
  /** -1: chunked. -2: until the connection ends. */
  readonly length: number;
}

function readHead(data: Buffer): Head | null {
  const end = data.indexOf(HEAD_END);
  if (end < 0) return null;
  const [first = '', ...fields] = data.toString('latin1', 0, end).split('\r\n');
  const status = Number(/^HTTP\/1\.[01] ([0-9]{3})/.exec(first)?.[1] ?? Number.NaN);
  let length = -2;
  for (const field of fields) {
    const colon = field.indexOf(':');
    const name = field.slice(0, colon).toLowerCase();
    const value = field.slice(colon + 1).trim();
    if (name === 'content-length' && length !== -1) length = Number(value);
    if (name === 'transfer-encoding' && value.toLowerCase() === 'chunked') length = -1;
  }
  return { status, bodyAt: end + HEAD_END.length, length: status === 204 ? 0 : length };
}

/**
 * Body of a chunked answer (RFC 9112 section 7.1), read as it comes: what is there is looked at
 * once, however many pieces it comes in.
 */
class ChunkReader {
  readonly #parts: Buffer[] = [];
  /** What has come and is not read: less than a line, but while data is read. */
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes of this chunk that are to come; -1: its size is. */
  #left = -1;
  #isLast = false;

  /** The whole body once its end has come, else null. */
  read(data: Buffer): string | null {
    this.#rest = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    for (;;) {
      if (this.#left > 0) {
        const taken = this.#rest.subarray(0, this.#left);
        this.#parts.push(taken);
        this.#left -= taken.length;
        this.#rest = this.#rest.subarray(taken.length);
        if (this.#left > 0) return null;
      }
      const lineEnd = this.#rest.indexOf('\r\n');
      if (lineEnd < 0) return null;
      const line = this.#rest.toString('latin1', 0, lineEnd);
      this.#rest = this.#rest.subarray(lineEnd + 2);
      if (this.#isLast) return Buffer.concat(this.#parts).toString();
      // The line that ends a chunk's data is empty.
      if (this.#left === 0) this.#left = -1;
      else this.#begin(line);
    }
  }

  #begin(line: string): void {
    const size = Number.parseInt(line, 16);
    if (!(size >= 0)) throw new Error('the director sent a chunk without a size');
    this.#isLast = size === 0;
    this.#left = size;
  }
}

/** Body text of an answer that is not chunked once all of it is there, else null. */
function readBody(data: Buffer, head: Head, ended: boolean): string | null {
  if (head.length === -2) return ended ? data.toString('utf8', head.bodyAt) : null;
  const end = head.bodyAt + head.length;
  return data.length < end ? null : data.toString('utf8', head.bodyAt, end);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export class AdminClient {
  readonly #socket: Socket;
  readonly #socketPath: string;
  #parts: Buffer[] = [];
  #bytes = 0;
  /** Bytes the answer has at least: before they are there, nothing needs to be looked at. */
  #wanted = 0;
  /** Of an answer in chunks that is being read. */
  #chunkedHead: Head | null = null;
  #chunks = new ChunkReader();
  #receive: (() => void) | null = null;
  #failed: string | null = null;
  #ended = false;

  private constructor(socket: Socket, socketPath: string) {
    this.#socket = socket;
    this.#socketPath = socketPath;
    socket.setTimeout(SILENCE_MAXIMUM_MS, () => this.#fail('ETIMEDOUT'));
    socket.on('data', (data) => {
      this.#parts.push(data);
      this.#bytes += data.length;
      this.#receive?.();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => this.#fail(error.code ?? 'EIO'));
    socket.on('end', () => {
      this.#ended = true;
      this.#receive?.();
    });
  }

  /** Throws UnreachableError. */
  static connect(socketPath: string): Promise<AdminClient> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(socketPath);
      const refuse = (error: NodeJS.ErrnoException): void =>
        reject(new UnreachableError(error.code ?? 'EIO', socketPath));
      socket.once('error', refuse);
      socket.once('connect', () => {
        socket.off('error', refuse);
        resolve(new AdminClient(socket, socketPath));
      });
    });
  }

  /** `path`: with its query. Throws UnreachableError when no answer comes. */
  request(method: 'GET' | 'POST', path: string, body: unknown = null): Promise<Answer> {
    const text = body === null ? '' : JSON.stringify(body);
    const type = body === null ? '' : 'Content-Type: application/json\r\n';
    const length = Buffer.byteLength(text);
    const head =
      `${method} ${path} HTTP/1.1\r\nHost: xvs\r\n` + `${type}Content-Length: ${length}\r\n\r\n`;
    return new Promise((resolve, reject) => {
      this.#receive = () => {
        try {
          const answer = this.#takeAnswer();
          if (answer === null) return;
          this.#receive = null;
          resolve(answer);
        } catch (error) {
          this.#receive = null;
          reject(error);
        }
      };
      this.#socket.write(head + text);
      this.#receive();
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #fail(errno: string): void {
    this.#failed = errno;
    this.#receive?.();
  }

  #takeAnswer(): Answer | null {
    const more = this.#bytes < this.#wanted && !this.#ended && this.#failed === null;
    if (more) return null;
    const data = this.#parts.length > 1 ? Buffer.concat(this.#parts) : this.#parts[0];
    this.#parts = data === undefined ? [] : [data];
    const head = this.#chunkedHead ?? (data === undefined ? null : readHead(data));
    let text: string | null = null;
    if (head?.length === -1) text = this.#readChunks(head, data ?? Buffer.alloc(0));
    else if (head !== null) text = readBody(data!, head, this.#ended);
    if (head !== null && head.length >= 0) this.#wanted = head.bodyAt + head.length;
    if (head !== null && text !== null) {
      this.#parts = [];
      this.#bytes = 0;
      this.#wanted = 0;
      this.#chunkedHead = null;
      return { status: head.status, body: parseJson(text) };
    }
    if (this.#failed !== null) throw new UnreachableError(this.#failed, this.#socketPath);
    if (this.#ended) throw new UnreachableError('ECONNRESET', this.#socketPath);
    return null;
  }

  #readChunks(head: Head, data: Buffer): string | null {
    const isFirst = this.#chunkedHead === null;
    if (isFirst) this.#chunks = new ChunkReader();
    this.#chunkedHead = head;
    this.#parts = [];
    return this.#chunks.read(isFirst ? data.subarray(head.bodyAt) : data);
  }
}
