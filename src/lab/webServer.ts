/**
 * A real server: nginx with a prefix directory of its own, in the foreground, answering `/` with
 * one line that names it, and `/files/` with the files of its directory (GET and PUT).
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from './namespace';
import { eventually } from './process';
import type { Topology } from './topology';

const START_TIMEOUT_MS = 10_000;

export interface WebServer {
  readonly name: string;
  readonly host: Namespace;
  readonly address: string;
  readonly port: number;
  /** Its answer to `/`, without the newline. */
  readonly greeting: string;
  /** Directory of `/files/`. */
  readonly files: string;
  readonly process: ChildProcess;
}

function configuration(directory: string, address: string, port: number, greeting: string): string {
  return `daemon off;
user root;
worker_processes 1;
pid ${directory}/nginx.pid;
error_log stderr;
events { worker_connections 4096; }
http {
  access_log off;
  default_type application/octet-stream;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  server {
    listen ${address}:${port} backlog=4096;
    location = / { default_type text/plain; return 200 "${greeting}\\n"; }
    location /files/ {
      alias ${directory}/files/;
      dav_methods PUT;
      client_max_body_size 0;
    }
  }
}
`;
}

/** Starts nginx on `address`:`port` of the host and waits until it answers there. */
export async function startWebServer(
  topology: Topology,
  host: Namespace,
  name: string,
  address: string,
  port = 80,
): Promise<WebServer> {
  const directory = join(topology.directory, name);
  const files = join(directory, 'files');
  mkdirSync(files, { recursive: true });
  const greeting = `${name} ${address}`;
  const configFile = join(directory, 'nginx.conf');
  writeFileSync(configFile, configuration(directory, address, port, greeting));
  const logName = `${name}.log`;
  const child = topology.spawn(
    host,
    ['nginx', '-p', directory, '-e', 'stderr', '-c', configFile],
    logName,
  );
  const url = `http://${address}:${port}/`;
  const answered = await eventually(async () => {
    if (child.exitCode !== null || child.pid === undefined) return true;
    const said = await host.run(['curl', '-sS', '--max-time', '2', url]);
    return said.stdout.trim() === greeting;
  }, START_TIMEOUT_MS);
  if (!answered || child.exitCode !== null || child.pid === undefined) {
    const log = readFileSync(join(topology.directory, logName), 'utf8').trim();
    throw new Error(`${name}: nginx does not answer on ${url}: ${log || 'its log is empty'}`);
  }
  return { name, host, address, port, greeting, files, process: child };
}
