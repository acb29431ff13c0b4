/**
 * The audit: one line for each change that was asked for, done or refused; through the admin socket
 * with who asked, by a signal without (the kernel does not say who sends one).
 */
import type { Socket } from 'node:net';
import type { Command, ErrorBody } from '../protocol';
import type { Fields, Level, Log } from './events';
import { describePeer, type Peer, type PeerCredentials, peerOf } from './peer';

/** A request may be as long as its sender likes; a line may not. */
const TEXT_LENGTH_MAX = 4096;

/** What was asked for. */
export interface Change {
  /** In the words of the tool that asks for it. */
  readonly words: string;
  /** How many rules, servers or settings it is about. */
  readonly rules: number;
  /** Of one that was done: what that came to, if the words do not say it. */
  readonly outcome?: string;
}

/** What the admin socket tells. */
export interface Witness {
  /** A command in xvsadm's words. */
  words(command: Command): string;
  /** Before a change begins: who asks may have left when it is done. */
  meet(socket: Socket): void;
  /** `error`: null when it was done. */
  changed(socket: Socket, change: Change, error: ErrorBody | null): void;
  /** Of what changes nothing. */
  asked(socket: Socket, request: string, error: ErrorBody | null): void;
}

export interface AuditOptions {
  readonly credentials: PeerCredentials;
  readonly words: (command: Command) => string;
  readonly log: {
    readonly say: Log;
    audit(message: string, fields: Fields): void;
    tells(level: Level): boolean;
  };
}

export class Audit implements Witness {
  readonly #options: AuditOptions;
  /** Of a connection once: a restore has thousands of changes on one. */
  readonly #peers = new WeakMap<Socket, { readonly peer: Peer | null }>();

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  words(command: Command): string {
    return this.#options.words(command);
  }

  meet(socket: Socket): void {
    this.#peerOf(socket);
  }

  changed(socket: Socket, change: Change, error: ErrorBody | null): void {
    const peer = this.#peerOf(socket);
    this.#write(describePeer(peer), { source: 'socket', ...peer }, change, error);
  }

  /** By SIGHUP. */
  reloaded(change: Change, error: ErrorBody | null): void {
    this.#write('SIGHUP', { source: 'SIGHUP' }, change, error);
  }

  asked(socket: Socket, request: string, error: ErrorBody | null): void {
    const { log } = this.#options;
    if (!log.tells('debug')) return;
    const peer = this.#peerOf(socket);
    const result = error?.code ?? 'ok';
    log.say('debug', 'request', `${describePeer(peer)}: ${request}: ${result}`, {
      ...peer,
      request,
      result,
    });
  }

  #write(who: string, source: Fields, change: Change, error: ErrorBody | null): void {
    const { rules, outcome = '' } = change;
    const words = shortened(change.words);
    const reason = shortened(error?.message ?? '');
    const done = outcome === '' ? 'ok' : `ok: ${outcome}`;
    const result = error === null ? done : `refused, ${error.code}: ${reason}`;
    this.#options.log.audit(`${who}: ${words}: ${result}`, {
      ...source,
      change: words,
      rules,
      result: error?.code ?? 'ok',
      ...(outcome === '' ? {} : { outcome }),
      ...(error === null ? {} : { reason }),
    });
  }

  #peerOf(socket: Socket): Peer | null {
    const known = this.#peers.get(socket) ?? {
      peer: peerOf(socket, this.#options.credentials),
    };
    this.#peers.set(socket, known);
    return known.peer;
  }
}

function shortened(text: string): string {
  if (text.length <= TEXT_LENGTH_MAX) return text;
  return `${text.slice(0, TEXT_LENGTH_MAX)}... (${text.length} characters)`;
}
