/**
 * A real server: nginx with a prefix directory of its own, in the foreground, answering `/` with
 * one line that names it, and `/files/` with the files of its directory (GET and PUT). With `tls`
 * also over HTTPS, under a certificate that openssl signs for it.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from './namespace';
import { eventually, runCommand } from './process';
import type { Topology } from './topology';

const START_TIMEOUT_MS = 10_000;
const TLS_PORT = 443;

export interface WebServerOptions {
  /** 80 unless given. */
  readonly port?: number;
  /** Addresses to listen on beside the server's own, as the VIP on lo in direct routing. */
  readonly alsoOn?: readonly string[];
  /** HTTPS on port 443 too. */
  readonly tls?: boolean;
}

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

/** A key and a certificate of its own for the addresses, as nginx's configuration names them. */
async function certify(directory: string, name: string, addresses: readonly string[]) {
  const key = join(directory, 'key.pem');
  const certificate = join(directory, 'certificate.pem');
  const alternatives = addresses.map((address) => `IP:${address}`).join(',');
  const said = await runCommand([
    ...['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    ...['-nodes', '-days', '1', '-subj', `/CN=${name}`],
    ...['-addext', `subjectAltName=${alternatives}`, '-keyout', key, '-out', certificate],
  ]);
  if (said.status !== 0) throw new Error(`${name}: openssl req: ${said.stderr.trim()}`);
  return `ssl_certificate ${certificate};\n    ssl_certificate_key ${key};\n`;
}

function configuration(
  directory: string,
  listen: readonly string[],
  certificate: string,
  greeting: string,
): string {
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
    ${listen.map((where) => `listen ${where};`).join('\n    ')}
    ${certificate}
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

/** An address as it stands before a port: IPv6 in brackets. */
export function literal(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

/** Starts nginx on a host and waits until it answers there. */
export async function startWebServer(
  topology: Topology,
  host: Namespace,
  name: string,
  address: string,
  options: WebServerOptions = {},
): Promise<WebServer> {
  const { port = 80, alsoOn = [], tls = false } = options;
  const directory = join(topology.directory, name);
  const files = join(directory, 'files');
  mkdirSync(files, { recursive: true });
  const greeting = `${name} ${address}`;
  const addresses = [address, ...alsoOn];
  const listen = addresses.flatMap((where) => [
    `${literal(where)}:${port} backlog=4096`,
    ...(tls ? [`${literal(where)}:${TLS_PORT} ssl`] : []),
  ]);
  const certificate = tls ? await certify(directory, name, addresses) : '';
  const configFile = join(directory, 'nginx.conf');
  writeFileSync(configFile, configuration(directory, listen, certificate, greeting));
  const logName = `${name}.log`;
  const child = topology.spawn(
    host,
    ['nginx', '-p', directory, '-e', 'stderr', '-c', configFile],
    logName,
  );
  const url = `http://${literal(address)}:${port}/`;
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
