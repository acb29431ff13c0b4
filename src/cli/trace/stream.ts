/**
 * An answer of the director that goes on: lines of JSON over the admin socket, read as they come.
 * The connection's end is what tells the director that nobody reads any more.
 */
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { ErrorBody } from '../../control/protocol';
import { UnreachableError } from '../client';
import { FailedError } from '../verbs/verb';

const BODY_LENGTH_MAX = 1 << 16;

export class LineStream {
  readonly #request: ClientRequest;
  readonly #path: string;
  #response: IncomingMessage | null = null;
  #ended = false;

  constructor(socketPath: string, path: string, body: unknown) {
    const text = JSON.stringify(body);
    this.#path = socketPath;
    this.#request = request({
      socketPath,
      path,
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
    });
    this.#request.end(text);
  }

  /** Ends it from this side: the lines end. */
  end(): void {
    this.#ended = true;
    this.#response?.destroy();
    this.#request.destroy();
  }

  /** Each line's JSON. Throws FailedError when the director refuses, UnreachableError. */
  async *messages(): AsyncGenerator<unknown> {
    try {
      const response = await this.#answer();
      this.#response = response;
      response.setEncoding('utf8');
      if (response.statusCode !== 200) throw new FailedError(await refusal(response));
      let rest = '';
      for await (const part of response) {
        const lines = (rest + part).split('\n');
        rest = lines.pop()!;
        for (const line of lines) yield JSON.parse(line);
      }
    } catch (error) {
      if (this.#ended) return;
      const { code } = error as NodeJS.ErrnoException;
      throw code === undefined ? error : new UnreachableError(code, this.#path);
    }
  }

  #answer(): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      this.#request.once('response', resolve);
      this.#request.once('error', reject);
    });
  }
}

async function refusal(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of response) text = (text + part).slice(0, BODY_LENGTH_MAX);
  try {
    return (JSON.parse(text) as ErrorBody).message;
  } catch {
    return `the director answered with status ${response.statusCode}`;
  }
}
