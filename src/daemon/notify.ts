/**
 * Telling systemd that the daemon is ready (sd_notify(3), unit of Type=notify). The message is a
 * datagram to a Unix socket, which Node cannot send: systemd's own tool does. Without NOTIFY_SOCKET
 * nobody asked, and nothing is done.
 */
import { execFile } from 'node:child_process';

const TOOL = 'systemd-notify';
const TIMEOUT_MS = 10_000;

/** Resolves with what went wrong, '' when nothing did. */
export function notifyReady(status: string): Promise<string> {
  if (!process.env['NOTIFY_SOCKET']) return Promise.resolve('');
  const words = ['--ready', `--status=${status}`];
  return new Promise((resolve) => {
    execFile(TOOL, words, { timeout: TIMEOUT_MS }, (error, _stdout, stderr) => {
      resolve(error === null ? '' : `${TOOL}: ${stderr.trim() || error.message}`);
    });
  });
}
