/**
 * Simulated clients and real servers around a simulated director. They behave as the recorded
 * ones: a server says its name and a newline on connect and answers a datagram with `NAME:LENGTH`,
 * the client closes first. Every packet that crosses the director is checked on its way. With
 * direct routing and tunnels servers have the VIP themselves, and answer the client without the
 * director; out of a tunnel they take what was sent to their own address.
 */
import assert from 'node:assert/strict';
import { decapsulate } from './decapsulate';
import { decode, summary } from './decode';
import { CLIENT_MAC, DIRECTOR_MAC_0, DIRECTOR_MAC_1, ethernet, SYN_OPTIONS } from './packet';
import { CLIENT_SIDE, type Outcome, SERVER_SIDE, type Simulation } from './simulation';

/** What became of an attempt: the server's name, or why there was none. */
export type Answer = string;
export const REFUSED = 'ECONNREFUSED';
export const TIMEOUT = 'timeout';

interface Endpoint {
  readonly address: string;
  readonly port: number;
}
export function endpoint(text: string): Endpoint {
  const [address, port] = text.split(':');
  return { address: address!, port: Number(port) };
}

interface Session {
  readonly client: Endpoint;
  readonly virtual: Endpoint;
  /** As the server's frames have them. */
  readonly server: Endpoint & { readonly name: string; readonly mac: string };
  clientSequence: number;
  serverSequence: number;
}

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
    const from = endpoint(client);
    const to = endpoint(virtual);
    const syn = ethernet({ source: CLIENT_MAC, destination: DIRECTOR_MAC_0 })
      .ipv4({ source: from.address, destination: to.address, fragment: 0x4000 })
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
    this.#greet(session);
    this.#held.set(`${client}->${session.server.name}`, session);
    if (!hold) this.close(client, session.server.name);
    return session.server.name;
  }

  /** The first frame that left for a server, out of its tunnel. */
  #arrived(outcome: Outcome): Uint8Array | undefined {
    const frame = outcome.sent[SERVER_SIDE][0];
    if (frame === undefined || this.#method !== 'tunnel') return frame;
    const { destination, inner } = decapsulate(frame);
    const { 'ethernet.destination': mac, 'ethernet.source': source } = decode(frame);
    assert.equal(destination, `10.0.2.1${String(mac).slice(-1)}`, `in a tunnel to MAC ${mac}`);
    return ethernet({ source: String(source), destination: String(mac) })
      .payload(inner)
      .build();
  }

  /** Which server a frame that left the director goes to: by its MAC and by its address. */
  #serverOf(frame: Uint8Array, virtual: Endpoint): Session['server'] {
    const fields = decode(frame);
    const mac = String(fields['ethernet.destination']);
    const name = `rs${mac.slice(-1)}`;
    if (this.#method !== 'nat') return { ...virtual, name, mac };
    const address = String(fields['ipv4.destination']);
    assert.equal(address, `10.0.2.1${mac.slice(-1)}`, `to MAC ${mac}`);
    const port = Number(fields['tcp.destination'] ?? fields['udp.destination']);
    return { address, port, name, mac };
  }

  #refusal(outcome: Outcome): Answer {
    const error = outcome.sent[CLIENT_SIDE][0];
    if (error !== undefined) {
      assert.equal(decode(error)['icmp.type'], 3, summary(error));
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
    const frame = ethernet({ source: CLIENT_MAC, destination: DIRECTOR_MAC_0 })
      .ipv4({ source: client.address, destination: virtual.address, fragment: 0x4000 })
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
    const frame = ethernet({ source: server.mac, destination: DIRECTOR_MAC_1 })
      .ipv4({ source: server.address, destination: client.address, fragment: 0x4000 })
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
    checkTranslated(arrived, 'tcp', virtual, client, DIRECTOR_MAC_0, CLIENT_MAC);
  }

  #checkArrival(frame: Uint8Array, session: Session): void {
    const { server, client } = session;
    checkTranslated(frame, 'tcp', client, server, DIRECTOR_MAC_1, server.mac);
  }

  /** A datagram of `length` bytes and its answer. */
  datagram(client: string, virtual: string, length: number): Answer {
    const from = endpoint(client);
    const to = endpoint(virtual);
    const frame = ethernet({ source: CLIENT_MAC, destination: DIRECTOR_MAC_0 })
      .ipv4({ source: from.address, destination: to.address })
      .udp({ source: from.port, destination: to.port })
      .payload('x'.repeat(length))
      .build();
    const outcome = this.simulation.receive(CLIENT_SIDE, frame, this.clientWorker);
    const arrived = this.#arrived(outcome);
    if (arrived === undefined) return this.#refusal(outcome);
    const server = this.#serverOf(arrived, to);
    checkTranslated(arrived, 'udp', from, server, DIRECTOR_MAC_1, server.mac);
    if (this.#method !== 'nat') return server.name;
    const answer = ethernet({ source: server.mac, destination: DIRECTOR_MAC_1 })
      .ipv4({ source: server.address, destination: from.address })
      .udp({ source: server.port, destination: from.port })
      .payload(`${server.name}:${length}`)
      .build();
    const back = this.simulation.receive(SERVER_SIDE, answer, this.serverWorker);
    const reply = back.sent[CLIENT_SIDE][0];
    // Nobody's: the host forwards it as it is, and the client knows no such server.
    if (reply === undefined && back.host.length === 1) return TIMEOUT;
    assert.ok(reply, `the answer of ${server.name} was lost`);
    checkTranslated(reply, 'udp', to, from, DIRECTOR_MAC_0, CLIENT_MAC);
    const [name] = Buffer.from(String(decode(reply)['payload']), 'hex')
      .toString()
      .split(':');
    return name!;
  }
}

function checkTranslated(
  frame: Uint8Array,
  kind: 'tcp' | 'udp',
  source: Endpoint,
  destination: Endpoint,
  sourceMac: string,
  destinationMac: string,
): void {
  const fields = decode(frame);
  const seen = {
    source: fields['ipv4.source'],
    sourcePort: fields[`${kind}.source`],
    destination: fields['ipv4.destination'],
    destinationPort: fields[`${kind}.destination`],
    sourceMac: fields['ethernet.source'],
    destinationMac: fields['ethernet.destination'],
    ttl: fields['ipv4.ttl'],
    ipChecksum: fields['ipv4.checksumIs'],
    checksum: fields[`${kind}.checksumIs`],
  };
  assert.deepEqual(seen, {
    source: source.address,
    sourcePort: source.port,
    destination: destination.address,
    destinationPort: destination.port,
    sourceMac,
    destinationMac,
    ttl: 63,
    ipChecksum: 'correct',
    checksum: 'correct',
  });
}
