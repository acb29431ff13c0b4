/**
 * Conversations with the kernel over one rtnetlink socket: dumps and acknowledged requests, one at
 * a time in order. Notifications have a socket of their own (see nextHop.ts), so that an overrun
 * there cannot eat an answer here.
 */

import { getSystemErrorName } from 'node:util';
import {
  addressText,
  type DumpOf,
  dumpRequest,
  hostAddress,
  NETLINK_ROUTE,
  type NeighbourUse,
  type NetlinkMessage,
  useNeighbourRequest,
} from './netlink';
import { parseMessages } from './netlinkParse';

/** The addon's netlink socket, as far as it is used here. */
export interface NetlinkHandle {
  readonly fd: number;
  send(message: Uint8Array): void;
  receive(buffer: Uint8Array): number;
  close(): void;
}
/** The doors of the addon that the mirror needs; the addon itself is one. */
export interface NetlinkAddon {
  openNetlink(protocol: number, groups: readonly number[]): NetlinkHandle;
  watch(fd: number, callback: () => void): { close(): void };
}

/** The kernel makes datagrams of at most 32 KiB in dumps. */
const RECEIVE_BYTES = 65536;
/** A dump that changes meanwhile is repeated this often; then its last content is taken. */
const DUMP_ATTEMPTS_MAX = 5;
/** Datagrams handled in one go, so that a storm cannot hold the event loop. */
const RECEIVES_MAX = 256;
/** More datagrams than any receive buffer holds. */
const DISCARDS_MAX = 1_000_000;
export type NetlinkListener = (message: NetlinkMessage) => void;

export class NetlinkError extends Error {
  readonly code: string;
  readonly errno: number;

  constructor(what: string, errno: number) {
    const code = getSystemErrorName(-errno);
    super(`netlink: ${what}: the kernel answered ${code} (${errno})`);
    this.code = code;
    this.errno = errno;
  }
}

interface Conversation {
  readonly what: string;
  readonly request: (sequence: number) => Uint8Array;
  readonly listener: NetlinkListener;
  readonly done: (error: Error | null, interrupted: boolean) => void;
  interrupted: boolean;
  sequence: number;
}

export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** Reads what is there, at most RECEIVES_MAX datagrams. Throws what the socket throws (ENOBUFS). */
export function receiveAll(
  socket: NetlinkHandle,
  buffer: Uint8Array,
  listener: NetlinkListener,
): void {
  for (let datagram = 0; datagram < RECEIVES_MAX; datagram++) {
    const length = socket.receive(buffer);
    if (length === 0) {
      return;
    }
    for (const message of parseMessages(buffer.subarray(0, length))) {
      listener(message);
    }
  }
}

/**
 * After an overrun: throws away what the socket still holds. Until its queue has been empty once,
 * the kernel goes on dropping notifications without another ENOBUFS; a dump made before that
 * could miss a change for ever.
 */
export function discardAll(socket: NetlinkHandle, buffer: Uint8Array): void {
  for (let datagram = 0; datagram < DISCARDS_MAX; datagram++) {
    try {
      if (socket.receive(buffer) === 0) {
        return;
      }
    } catch (error) {
      if (errorCode(error) !== 'ENOBUFS') {
        throw error;
      }
    }
  }
}

/** The messages of one kind. */
export function ofKind<Kind extends NetlinkMessage['kind']>(
  messages: readonly NetlinkMessage[],
  kind: Kind,
): Extract<NetlinkMessage, { kind: Kind }>[] {
  return messages.filter(
    (message): message is Extract<NetlinkMessage, { kind: Kind }> => message.kind === kind,
  );
}

export class NetlinkSocket {
  private readonly addon: NetlinkAddon;
  private readonly socket: NetlinkHandle;
  private watcher: { close(): void };
  private readonly buffer = new Uint8Array(RECEIVE_BYTES);
  private readonly waiting: Conversation[] = [];
  private current: Conversation | null = null;
  private sequence = 0;
  private closed = false;

  constructor(addon: NetlinkAddon) {
    this.addon = addon;
    this.socket = addon.openNetlink(NETLINK_ROUTE, []);
    this.watcher = addon.watch(this.socket.fd, () => this.readable());
  }

  /** Everything of one sort. Repeated when the kernel says that it changed meanwhile. */
  async dump(what: DumpOf, family: number): Promise<NetlinkMessage[]> {
    for (let attempt = 1; ; attempt++) {
      const messages: NetlinkMessage[] = [];
      const interrupted = await this.converse(
        `dump of ${what}`,
        (sequence) => dumpRequest(what, family, sequence),
        (message) => messages.push(message),
      );
      if (!interrupted || attempt === DUMP_ATTEMPTS_MAX) {
        return messages;
      }
    }
  }

  /** See useNeighbourRequest. Rejects with NetlinkError when the kernel refuses. */
  async useNeighbour(use: NeighbourUse): Promise<void> {
    await this.converse(
      `use of neighbour ${addressText(hostAddress(use.address) ?? 0)} on interface ${use.index}`,
      (sequence) => useNeighbourRequest(use, sequence),
      () => undefined,
    );
  }

  /** Conversations not ended yet are rejected. */
  close(): void {
    if (this.closed) {
      return;
    }
    this.closed = true;
    this.watcher.close();
    this.socket.close();
    for (const conversation of [this.current, ...this.waiting.splice(0)]) {
      conversation?.done(new Error(`netlink: ${conversation.what}: the socket was closed`), false);
    }
    this.current = null;
  }

  /** Resolves with whether the answer was interrupted by a change. */
  private converse(
    what: string,
    request: (sequence: number) => Uint8Array,
    listener: NetlinkListener,
  ): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const done = (error: Error | null, interrupted: boolean): void => {
        if (error === null) {
          resolve(interrupted);
        } else {
          reject(error);
        }
      };
      if (this.closed) {
        done(new Error(`netlink: ${what}: the socket is closed`), false);
        return;
      }
      this.waiting.push({ what, request, listener, done, interrupted: false, sequence: 0 });
      this.next();
    });
  }

  private next(): void {
    if (this.current !== null) {
      return;
    }
    const conversation = this.waiting.shift() ?? null;
    this.current = conversation;
    if (conversation === null) {
      return;
    }
    this.sequence = (this.sequence % 0x7fffffff) + 1;
    conversation.sequence = this.sequence;
    try {
      this.socket.send(conversation.request(this.sequence));
    } catch (error) {
      this.finish(error as Error);
    }
  }

  private finish(error: Error | null): void {
    const ended = this.current;
    this.current = null;
    ended?.done(error, ended.interrupted);
    this.next();
  }

  private readable(): void {
    try {
      receiveAll(this.socket, this.buffer, (message) => this.take(message));
    } catch (error) {
      // libuv stops watching an fd that polled as an error (POLLERR).
      this.watcher.close();
      this.watcher = this.addon.watch(this.socket.fd, () => this.readable());
      this.finish(error as Error);
    }
  }

  private take(message: NetlinkMessage): void {
    const { current } = this;
    if (current === null || message.sequence !== current.sequence) {
      return;
    }
    current.interrupted ||= message.interrupted;
    if (message.kind === 'done') {
      this.finish(null);
    } else if (message.kind === 'error') {
      this.finish(message.errno === 0 ? null : new NetlinkError(current.what, message.errno));
    } else {
      current.listener(message);
    }
  }
}
