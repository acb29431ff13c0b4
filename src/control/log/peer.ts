/**
 * Who is at the other end of a connection to the admin socket, as the kernel noted it when that was
 * made (unix(7), SO_PEERCRED). The user's name is /etc/passwd's; the command's is what the process
 * calls itself. Who became that user by sudo, or was it before, cannot be known.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { basename } from 'node:path';

const NAME_LENGTH_MAX = 64;

export interface Peer {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** '' for one that /etc/passwd does not name. */
  readonly user: string;
  /** '' when the process has ended. */
  readonly command: string;
}

/** The addon's part of it. */
export type PeerCredentials = (fd: number) => Pick<Peer, 'uid' | 'gid' | 'pid'>;

/** null: it cannot be told any more, or the connection is none of a Unix socket. */
export function peerOf(socket: Socket, credentials: PeerCredentials): Peer | null {
  const handle = (socket as { _handle?: { readonly fd?: number } | null })._handle;
  const fd = handle?.fd ?? -1;
  if (fd < 0) return null;
  try {
    const { uid, gid, pid } = credentials(fd);
    return { uid, gid, pid, user: userName(uid), command: commandName(pid) };
  } catch {
    return null;
  }
}

export function describePeer(peer: Peer | null): string {
  if (peer === null) return 'unknown peer';
  const { uid, gid, pid, user, command } = peer;
  // A process calls itself what it likes: it shall not look like other parts of the line.
  const name = /^[\w.+-]*$/.test(command) ? command : JSON.stringify(command);
  const process = name === '' ? `pid ${pid}` : `pid ${pid} ${name}`;
  return `${user === '' ? uid : user} (uid ${uid}, gid ${gid}, ${process})`;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function userName(uid: number): string {
  const lines = readText('/etc/passwd').split('\n');
  return lines.map((line) => line.split(':')).find(([, , id]) => id === String(uid))?.[0] ?? '';
}

/** Of a script the script's name: our own tools are Node's. */
function commandName(pid: number): string {
  const [program = '', ...words] = readText(`/proc/${pid}/cmdline`).split('\0');
  const name = basename(program);
  const script = name === 'node' ? words.find((word) => /^[^-].*\//.test(word)) : undefined;
  return (script === undefined ? name : basename(script, '.js')).slice(0, NAME_LENGTH_MAX);
}
