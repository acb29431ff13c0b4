/**
 * The real server of the bench tcp: nginx, one process, two things to ask for. Bodies are known by
 * the byte (generator.c checks them); no access log; connections stay as long as the client wants.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Child } from '../support/child';
import { SERVICE_PORT } from '../wire/settings';
import type { TcpLab } from './lab';

const PERIOD = 23;
const FIRST = 'a'.charCodeAt(0);
const REQUESTS_MOST = 1_000_000_000;

export interface Body {
  readonly path: string;
  readonly bytes: number;
}
export const SMALL: Body = { path: '/small', bytes: 128 };
export const LARGE: Body = { path: '/large', bytes: 1 << 20 };

/** Byte i of a body is 'a' + i % 23. */
export function bodyOf({ bytes }: Body): string {
  const turn = Array.from({ length: PERIOD }, (_, at) => String.fromCharCode(FIRST + at)).join('');
  return turn.repeat(Math.ceil(bytes / PERIOD)).slice(0, bytes);
}

/** nginx from a directory of its own, as server and as proxy: one process, which does the work. */
export function nginxMain(directory: string, name: string): string {
  return `daemon off;
master_process off;
pid ${directory}/${name}.pid;
error_log stderr;
events { worker_connections 4096; }
`;
}

export function nginxCommand(directory: string, file: string): string[] {
  return ['nginx', '-p', directory, '-e', 'stderr', '-c', file];
}

export function startServer(lab: TcpLab): Child {
  const { directory } = lab;
  const root = join(directory, 'root');
  mkdirSync(root);
  writeFileSync(join(root, LARGE.path), bodyOf(LARGE));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const file = lab.writeFile(
    'server.conf',
    `${nginxMain(directory, 'server')}
http {
  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  keepalive_requests ${REQUESTS_MOST};
  ${temporary.map((name) => `${name}_temp_path ${directory}/${name};`).join('\n  ')}
  server {
    listen ${SERVICE_PORT} backlog=16384;
    root ${root};
    open_file_cache max=4;
    location = ${SMALL.path} { return 200 "${bodyOf(SMALL)}"; }
  }
}
`,
  );
  return lab.spawn('server', 'serverCpu', 'server', nginxCommand(directory, file));
}
