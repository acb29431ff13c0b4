/**
 * The exporter's HTTP server: /metrics in the format and the encoding that the reader prefers
 * (RFC 9110 12.5), /healthz, /readyz.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip } from 'node:zlib';
import type { Exporter } from './metrics';
import { CONTENT_TYPES, type MetricsFormat } from './metricsFormat';

const OPEN_METRICS = 'application/openmetrics-text';
const OPEN_METRICS_VERSION = '1.0.0';

interface Choice {
  /** In lower case. */
  readonly name: string;
  readonly parameters: ReadonlyMap<string, string>;
  /** 0: not wanted. */
  readonly quality: number;
}

/** The elements of a header such as Accept. */
function choicesOf(header: string | undefined): readonly Choice[] {
  return (header ?? '').split(',').map((element) => {
    const [name = '', ...rest] = element.split(';').map((part) => part.trim().toLowerCase());
    const parameters = new Map(
      rest.map((part) => {
        const [key = '', value = ''] = part.split('=').map((side) => side.trim());
        return [key, value.replace(/^"(.*)"$/, '$1')] as const;
      }),
    );
    const quality = Number(parameters.get('q') ?? 1);
    return { name, parameters, quality: Number.isFinite(quality) ? quality : 0 };
  });
}

/** The text format, unless OpenMetrics is asked for and the other is not liked better. */
export function formatFor(accept: string | undefined): MetricsFormat {
  const choices = choicesOf(accept);
  const best = (fits: (choice: Choice) => boolean): number =>
    Math.max(0, ...choices.filter(fits).map(({ quality }) => quality));
  const openMetrics = best(
    ({ name, parameters }) =>
      name === OPEN_METRICS &&
      (parameters.get('version') ?? OPEN_METRICS_VERSION) === OPEN_METRICS_VERSION,
  );
  const text = best(({ name }) => name === 'text/plain');
  return openMetrics > 0 && openMetrics >= text ? 'openMetrics' : 'text';
}

export function wantsGzip(acceptEncoding: string | undefined): boolean {
  const choices = choicesOf(acceptEncoding);
  const named = (wanted: string): Choice | undefined => choices.find(({ name }) => name === wanted);
  return (named('gzip') ?? named('*') ?? { quality: 0 }).quality > 0;
}

async function sendPage(
  exporter: Exporter,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const format = formatFor(request.headers.accept);
  const gzip = wantsGzip(request.headers['accept-encoding']?.toString());
  response.writeHead(200, {
    'content-type': CONTENT_TYPES[format],
    vary: 'accept, accept-encoding',
    ...(gzip && { 'content-encoding': 'gzip' }),
  });
  const page = Readable.from(exporter.page(format));
  // Compression has a thread of its own; a page of ten thousand servers gets a tenth as long.
  if (gzip) await pipeline(page, createGzip({ level: constants.Z_BEST_SPEED }), response);
  else await pipeline(page, response);
}

export function createMetricsServer(exporter: Exporter, isReady: () => boolean): Server {
  return createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0];
    if (path === '/metrics') {
      // Its head is out: only the connection's end can say that the rest does not come.
      sendPage(exporter, request, response).catch(() => response.destroy());
    } else if (path === '/healthz') response.writeHead(200).end('ok\n');
    else if (path === '/readyz') {
      const ready = isReady();
      response.writeHead(ready ? 200 : 503).end(ready ? 'ready\n' : 'not ready\n');
    } else response.writeHead(404).end('/metrics, /healthz and /readyz are served here\n');
  });
}
