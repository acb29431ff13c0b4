/** Overviews from the director, one after another over one connection, and pictures of them. */
import { makePicture, type Picture } from '../../control/overview/picture';
import type { Overview } from '../../control/overview/protocol';
import type { ErrorBody } from '../../control/protocol';
import { AdminClient, UnreachableError } from '../client';
import { FailedError } from '../verbs/verb';

export class PictureSource {
  readonly #socketPath: string;
  #client: AdminClient | null = null;
  #before: Overview | null = null;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /**
   * `servers`: 'all', 'none', or a service's name. Rates are those since the last call. Throws
   * UnreachableError, FailedError; the next call then tries again.
   */
  async next(servers: string): Promise<Picture> {
    const now = await this.#ask(servers);
    const picture = makePicture(this.#before, now);
    this.#before = now;
    return picture;
  }

  close(): void {
    this.#client?.close();
    this.#client = null;
  }

  async #ask(servers: string): Promise<Overview> {
    this.#client ??= await AdminClient.connect(this.#socketPath);
    try {
      const path = `/v1/overview?${new URLSearchParams({ servers })}`;
      const { status, body } = await this.#client.request('GET', path);
      if (status === 200) return body as Overview;
      const { message } = (body ?? {}) as Partial<ErrorBody>;
      throw new FailedError(message ?? `the director answered with status ${status}`);
    } catch (error) {
      if (error instanceof UnreachableError) this.close();
      throw error;
    }
  }
}
