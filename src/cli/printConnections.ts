/**
 * `-L -c`: the connection table, one row an entry, in the director's order. Templates are among
 * them; a template of a mark has the mark as its virtual address and protocol IP.
 */
import type { ConnectionListing } from '../control/protocol';
import type { NameView } from './names';
import { formatEndpoint } from './print';

function expiry(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  return `${String(minutes).padStart(2, '0')}:${String(seconds % 60).padStart(2, '0')}`;
}

function row(connection: ConnectionListing, names: NameView): string {
  const { family, client, clientPort, virtual, virtualPort, real, realPort } = connection;
  const protocol = connection.protocol.toLowerCase();
  const endpoint = (address: string, port: number): string =>
    formatEndpoint(family, address, port, protocol, names);
  // A tunnel's server may be of the other family than the connection.
  const realFamily = real.includes(':') ? 6 : 4;
  return [
    connection.protocol.padEnd(3),
    expiry(connection.expiresSeconds).padEnd(6),
    connection.state.padEnd(11),
    endpoint(client, clientPort).padEnd(18),
    endpoint(virtual, virtualPort).padEnd(18),
    formatEndpoint(realFamily, real, realPort, protocol, names),
  ].join(' ');
}

/** `withEngine`: `--persistent-conn`, which adds the columns of persistence engines. */
export function printConnections(
  connections: readonly ConnectionListing[],
  withEngine: boolean,
  names: NameView,
): string {
  const heads = ['state', 'source', 'virtual'].map((head, index) => head.padEnd(index ? 18 : 11));
  const last = withEngine ? ['destination'.padEnd(18), 'pe name'.padEnd(16), 'pe_data'] : [];
  const title = ['pro expire', ...heads, ...(withEngine ? last : ['destination'])].join(' ');
  const rows = connections.map((connection) => `${row(connection, names)}\n`);
  return `IPVS connection entries\n${title}\n${rows.join('')}`;
}
