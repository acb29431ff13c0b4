/**
 * The web page of config key `web`: what `xvs top` shows, for a browser. Read-only, without a
 * password, meant for loopback and a tunnel to it; everything comes from the package itself.
 *
 * Against pages of others in the same browser: nothing but GET and HEAD, no CORS, and the request
 * must name the director by address or as localhost. A name that somebody's DNS points here (DNS
 * rebinding) is refused. The page may load from its own origin only (CSP), and not be framed.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { type OverviewSource, streamOverview } from '../overview/source';
import { send } from '../slice';
import { type Asset, pageAssets } from './assets';

const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};
const HEADERS_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;
const CONNECTIONS_MAX = 64;

/** Is this Host header an address, or localhost? Its port may be that of a tunnel. */
export function isOwnHost(host: string | undefined): boolean {
  const [, bracketed, plain] =
    /^(?:\[([^\]]+)\]|([^:[\]]+))(?::[0-9]{1,5})?$/.exec(host ?? '') ?? [];
  if (bracketed !== undefined) return isIP(bracketed) === 6;
  return plain !== undefined && (plain.toLowerCase() === 'localhost' || isIP(plain) === 4);
}

/** Listens nowhere yet. */
export function createWebServer(source: OverviewSource): Server {
  const assets = pageAssets();
  const server = createServer({ headersTimeout: HEADERS_TIMEOUT_MS }, (request, response) =>
    answer(source, assets, request, response),
  );
  server.maxConnections = CONNECTIONS_MAX;
  // Who does not read its answer holds a place.
  server.setTimeout(IDLE_TIMEOUT_MS);
  return server;
}

function answer(
  source: OverviewSource,
  assets: ReadonlyMap<string, Asset>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    refuse(response, 405, `${request.method}: GET and HEAD are allowed`);
    return;
  }
  if (!isOwnHost(request.headers.host)) {
    const host = JSON.stringify(request.headers.host ?? '');
    refuse(response, 403, `Host ${host}: ask for the director's address, or for localhost`);
    return;
  }
  const [path = '/', search = ''] = (request.url ?? '/').split('?');
  if (path === '/overview.json') {
    const site = request.headers['sec-fetch-site'] ?? 'none';
    if (site !== 'none' && site !== 'same-origin') {
      refuse(response, 403, `Sec-Fetch-Site ${site}: only the page of this server may ask`);
      return;
    }
    sendOverview(source, new URLSearchParams(search), request.method, response);
    return;
  }
  const asset = assets.get(path);
  if (asset === undefined) {
    refuse(response, 404, `${path}: there are ${[...assets.keys()].join(' ')} /overview.json`);
    return;
  }
  response.writeHead(200, { 'content-type': asset.type, 'content-length': asset.bytes.length });
  response.end(asset.bytes);
}

function sendOverview(
  source: OverviewSource,
  query: URLSearchParams,
  method: string,
  response: ServerResponse,
): void {
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
  if (method === 'HEAD') response.end();
  // Its head is out: only the connection's end can say that the rest does not come.
  else send(response, streamOverview(source, query)).catch(() => response.destroy());
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${text}\n`);
}
