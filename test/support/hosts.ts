/**
 * Simulated clients and real servers around a simulated director. They behave as the recorded
 * ones: a server says its name and a newline on connect and answers a datagram with `NAME:LENGTH`,
 * the client closes first. Every packet that crosses the director is checked on its way. With
 * direct routing and tunnels servers have the VIP themselves, and answer the client without the
 * director; out of a tunnel they take what was sent to their own address.
 */
import assert from 'node:assert/strict';
import { type Decapsulated, decapsulate } from './decapsulate';
import { decode, summary } from './decode';
import {
  CLIENT_MAC,
  DIRECTOR_MAC_0,
  DIRECTOR_MAC_1,
  ethernet,
  ipv6Bytes,
  type PacketBuilder,
  SYN_OPTIONS,
} from './packet';
import {
  CLIENT_SIDE,
  type Outcome,
  SERVER_SIDE,
  type Simulation,
  serverAddress,
  serverAddress6,
} from './simulation';

/** What became of an attempt: the server's name, or why there was none. */
export type Answer = string;
export const REFUSED = 'ECONNREFUSED';
export const TIMEOUT = 'timeout';

interface Endpoint {
  readonly address: string;
  readonly port: number;
}
/** "10.0.1.100:40001" or, as recordings write it, "fd00:1::100:40001". */
export function endpoint(text: string): Endpoint {
  const colon = text.lastIndexOf(':');
  return { address: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}
const isIpv6 = ({ address }: Endpoint): boolean => address.includes(':');

interface Session {
  readonly client: Endpoint;
  readonly virtual: Endpoint;
  /** As the server's frames have them. */
  readonly server: Endpoint & { readonly name: string; readonly mac: string };
  clientSequence: number;
  serverSequence: number;
}

interface Path {
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly sourceMac: string;
  readonly destinationMac: string;
}

/** A frame's Ethernet and IP header. `fragment`: of IPv4; 0x4000 is "don't fragment". */
function packetOn(path: Path, fragment: number): PacketBuilder {
  const { source, destination, sourceMac, destinationMac } = path;
  const frame = ethernet({ source: sourceMac, destination: destinationMac });
  const addresses = { source: source.address, destination: destination.address };
  return isIpv6(source) ? frame.ipv6(addresses) : frame.ipv4({ ...addresses, fragment });
}
const DONT_FRAGMENT = 0x4000;

const CLIENT_SEQUENCE = 0x10000000;
const SERVER_SEQUENCE = 0x20000000;

export class Hosts {
  readonly simulation: Simulation;
  /** Held connections by "ADDRESS:PORT->NAME". */
  readonly #held = new Map<string, Session>();
  /** Worker that receives on each side: replies may come to another. */
  clientWorker = 0;
  serverWorker = 0;
  readonly #method: 'nat' | 'dr' | 'tunnel';

  constructor(simulation: Simulation, method: 'nat' | 'dr' | 'tunnel' = 'nat') {
    this.simulation = simulation;
    this.#method = method;
  }

  /** A connection from `client` to `virtual`, both "ADDRESS:PORT". */
  connect(client: string, virtual: string, hold = false): Answer {
    const session = this.#open(client, virtual);
    if (typeof session === 'string') return session;
    this.#greet(session);
    this.#held.set(`${client}->${session.server.name}`, session);
    if (!hold) this.close(client, session.server.name);
    return session.server.name;
  }

  /** A SYN that a server gets and does not answer by way of the director. */
  knock(client: string, virtual: string): Answer {
    const session = this.#open(client, virtual);
    return typeof session === 'string' ? session : session.server.name;
  }

  /** A SYN and what came of it: the connection, or why there is none. */
  #open(client: string, virtual: string): Session | Answer {
    const from = endpoint(client);
    const to = endpoint(virtual);
    const syn = packetOn(fromClient(from, to), DONT_FRAGMENT)
      .tcp({
        source: from.port,
        destination: to.port,
        sequence: CLIENT_SEQUENCE,
        flags: 'S',
        options: SYN_OPTIONS,
      })
      .build();
    const outcome = this.simulation.receive(CLIENT_SIDE, syn, this.clientWorker);
    const arrived = this.#arrived(outcome);
    if (arrived === undefined) return this.#refusal(outcome);
    const session: Session = {
      client: from,
      virtual: to,
      server: this.#serverOf(arrived, to),
      clientSequence: CLIENT_SEQUENCE + 1,
      serverSequence: SERVER_SEQUENCE,
    };
    this.#checkArrival(arrived, session);
    return session;
  }

  /** The first frame that left for a server, out of its tunnel. */
  #arrived(outcome: Outcome): Uint8Array | undefined {
    const frame = outcome.sent[SERVER_SIDE][0];
    if (frame === undefined || this.#method !== 'tunnel') return frame;
    const tunnelled = decapsulate(frame);
    const { 'ethernet.destination': mac, 'ethernet.source': source } = decode(frame);
    const number = Number(String(mac).slice(-1));
    assert.equal(tunnelled.destination, tunnelEnd(tunnelled, number), `in a tunnel to MAC ${mac}`);
    const type = tunnelled.innerFamily === 6 ? 0x86dd : 0x0800;
    return ethernet({ source: String(source), destination: String(mac), type })
      .payload(tunnelled.inner)
      .build();
  }

  /** Which server a frame that left the director goes to: by its MAC and by its address. */
  #serverOf(frame: Uint8Array, virtual: Endpoint): Session['server'] {
    const fields = decode(frame);
    const mac = String(fields['ethernet.destination']);
    const name = `rs${mac.slice(-1)}`;
    if (this.#method !== 'nat') return { ...virtual, name, mac };
    const ofFamily = isIpv6(virtual) ? serverAddress6 : serverAddress;
    const address = String(fields['ipv6.destination'] ?? fields['ipv4.destination']);
    assert.equal(address, ofFamily(Number(mac.slice(-1))), `to MAC ${mac}`);
    const port = Number(fields['tcp.destination'] ?? fields['udp.destination']);
    return { address, port, name, mac };
  }

  #refusal(outcome: Outcome): Answer {
    const error = outcome.sent[CLIENT_SIDE][0];
    if (error !== undefined) {
      const fields = decode(error);
      assert.ok(fields['icmp.type'] === 3 || fields['icmp6.type'] === 1, summary(error));
      return REFUSED;
    }
    // The VIP is the host's own: its stack refuses what is nobody's.
    return outcome.host.length > 0 ? REFUSED : TIMEOUT;
  }

  #greet(session: Session): void {
    this.#fromServer(session, 'SA', '', SYN_OPTIONS);
    this.#fromClient(session, 'A');
    this.#fromServer(session, 'PA', `${session.server.name}\n`);
    this.#fromClient(session, 'A');
  }

  #take(client: string, name: string): Session {
    const key = `${client}->${name}`;
    const session = this.#held.get(key);
    assert.ok(session, `no connection ${key} is open`);
    this.#held.delete(key);
    return session;
  }

  /** Client closes first, server follows. */
  close(client: string, name: string): void {
    const session = this.#take(client, name);
    this.#fromClient(session, 'FA');
    this.#fromServer(session, 'FA');
    this.#fromClient(session, 'A');
  }

  /** Client resets a connection that is held. */
  reset(client: string, name: string): void {
    this.#fromClient(this.#take(client, name), 'R');
  }

  /** A segment without content from one end of a held connection, which stays as it is. */
  step(client: string, name: string, end: 'client' | 'server', flags: string): void {
    const session = this.#held.get(`${client}->${name}`);
    assert.ok(session, `no connection ${client}->${name} is open`);
    if (end === 'client') this.#fromClient(session, flags);
    else this.#fromServer(session, flags);
  }

  /** One more segment from each end of a held connection; false: the client's did not arrive. */
  exchange(client: string, name: string): boolean {
    const session = this.#held.get(`${client}->${name}`);
    assert.ok(session);
    const arrived = this.#sendFromClient(session, 'PA', 'ping');
    if (arrived === undefined) return false;
    session.clientSequence += 4;
    this.#checkArrival(arrived, session);
    this.#fromServer(session, 'PA', 'pong');
    return true;
  }

  #sendFromClient(session: Session, flags: string, content = ''): Uint8Array | undefined {
    const { client, virtual } = session;
    const frame = packetOn(fromClient(client, virtual), DONT_FRAGMENT)
      .tcp({
        source: client.port,
        destination: virtual.port,
        sequence: session.clientSequence,
        acknowledgement: session.serverSequence,
        flags,
      })
      .payload(content)
      .build();
    const outcome = this.simulation.receive(CLIENT_SIDE, frame, this.clientWorker);
    return this.#arrived(outcome);
  }

  #fromClient(session: Session, flags: string, content = ''): void {
    const arrived = this.#sendFromClient(session, flags, content);
    assert.ok(arrived, `${flags} of ${session.client.address}:${session.client.port} was lost`);
    session.clientSequence += content.length + (flags.includes('F') ? 1 : 0);
    this.#checkArrival(arrived, session);
  }

  #fromServer(session: Session, flags: string, content = '', options = new Uint8Array(0)): void {
    const { server, client, virtual } = session;
    if (this.#method !== 'nat') {
      session.serverSequence += content.length + (/[SF]/.test(flags) ? 1 : 0);
      return;
    }
    const frame = packetOn(fromServer(server, client), DONT_FRAGMENT)
      .tcp({
        source: server.port,
        destination: client.port,
        sequence: session.serverSequence,
        acknowledgement: session.clientSequence,
        flags,
        options,
      })
      .payload(content)
      .build();
    const outcome = this.simulation.receive(SERVER_SIDE, frame, this.serverWorker);
    const arrived = outcome.sent[CLIENT_SIDE][0];
    assert.ok(arrived, `${flags} of ${server.name} was lost`);
    session.serverSequence += content.length + (/[SF]/.test(flags) ? 1 : 0);
    checkTranslated(arrived, 'tcp', toClient(virtual, client));
  }

  #checkArrival(frame: Uint8Array, session: Session): void {
    const { server, client } = session;
    checkTranslated(frame, 'tcp', toServer(client, server));
  }

  /** A datagram of `length` bytes and its answer. */
  datagram(client: string, virtual: string, length: number): Answer {
    const from = endpoint(client);
    const to = endpoint(virtual);
    const frame = packetOn(fromClient(from, to), 0)
      .udp({ source: from.port, destination: to.port })
      .payload('x'.repeat(length))
      .build();
    const outcome = this.simulation.receive(CLIENT_SIDE, frame, this.clientWorker);
    const arrived = this.#arrived(outcome);
    if (arrived === undefined) return this.#refusal(outcome);
    const server = this.#serverOf(arrived, to);
    checkTranslated(arrived, 'udp', toServer(from, server));
    if (this.#method !== 'nat') return server.name;
    const answer = packetOn(fromServer(server, from), 0)
      .udp({ source: server.port, destination: from.port })
      .payload(`${server.name}:${length}`)
      .build();
    const back = this.simulation.receive(SERVER_SIDE, answer, this.serverWorker);
    const reply = back.sent[CLIENT_SIDE][0];
    // Nobody's: the host forwards it as it is, and the client knows no such server.
    if (reply === undefined && back.host.length === 1) return TIMEOUT;
    assert.ok(reply, `the answer of ${server.name} was lost`);
    checkTranslated(reply, 'udp', toClient(to, from));
    const [name] = Buffer.from(String(decode(reply)['payload']), 'hex')
      .toString()
      .split(':');
    return name!;
  }
}

/** How a tunnel's frame names the server: of IPv6 the address as 32 hex digits. */
function tunnelEnd({ family }: Decapsulated, number: number): string {
  if (family === 4) return serverAddress(number);
  return Buffer.from(ipv6Bytes(serverAddress6(number))).toString('hex');
}

type Server = Session['server'];

function fromClient(client: Endpoint, virtual: Endpoint): Path {
  const macs = { sourceMac: CLIENT_MAC, destinationMac: DIRECTOR_MAC_0 };
  return { source: client, destination: virtual, ...macs };
}
function toServer(client: Endpoint, server: Server): Path {
  const macs = { sourceMac: DIRECTOR_MAC_1, destinationMac: server.mac };
  return { source: client, destination: server, ...macs };
}
function fromServer(server: Server, client: Endpoint): Path {
  const macs = { sourceMac: server.mac, destinationMac: DIRECTOR_MAC_1 };
  return { source: server, destination: client, ...macs };
}
function toClient(virtual: Endpoint, client: Endpoint): Path {
  const macs = { sourceMac: DIRECTOR_MAC_0, destinationMac: CLIENT_MAC };
  return { source: virtual, destination: client, ...macs };
}

function checkTranslated(frame: Uint8Array, kind: 'tcp' | 'udp', path: Path): void {
  const fields = decode(frame);
  const family = isIpv6(path.source) ? 'ipv6' : 'ipv4';
  const seen = {
    source: fields[`${family}.source`],
    sourcePort: fields[`${kind}.source`],
    destination: fields[`${family}.destination`],
    destinationPort: fields[`${kind}.destination`],
    sourceMac: fields['ethernet.source'],
    destinationMac: fields['ethernet.destination'],
    hopsLeft: fields[family === 'ipv6' ? 'ipv6.hopLimit' : 'ipv4.ttl'],
    ipChecksum: fields['ipv4.checksumIs'],
    checksum: fields[`${kind}.checksumIs`],
  };
  assert.deepEqual(seen, {
    source: path.source.address,
    sourcePort: path.source.port,
    destination: path.destination.address,
    destinationPort: path.destination.port,
    sourceMac: path.sourceMac,
    destinationMac: path.destinationMac,
    hopsLeft: 63,
    ipChecksum: family === 'ipv6' ? undefined : 'correct',
    checksum: 'correct',
  });
}
