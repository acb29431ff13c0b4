/**
 * A place of its own for each replayed case, so that all of them can have one daemon: entries and
 * removed servers outlive the services they came from, and would count for the next case. Clients
 * keep their addresses and get ports that none had before; a service on port 80 gets another port,
 * one by mark another mark. Schedulers are blind to all three, save those with "sh-port" and
 * "mh-port".
 */
import type { Event } from './golden';

/** Two digits, as the recorded port has: listings keep their columns. */
const FIRST_SERVICE_PORT = 40;
const LAST_SERVICE_PORT = 99;
const FIRST_CLIENT_PORT = 20_001;
let places = 0;
let lastClientPort = FIRST_CLIENT_PORT;

/** An address and a port of the clients' that none had before. */
function freshClient(address: string): string {
  lastClientPort++;
  return `${address}:${lastClientPort}`;
}

export class GoldenPlace {
  readonly #port: number;
  readonly #mark: number;
  readonly #isMarked: boolean;
  readonly #clients = new Map<string, string>();

  /** Of a case with these events. */
  constructor(events: readonly Event[]) {
    this.#isMarked = events.some((event) => event.op === 'cmd' && / -f 1\b/.test(event.cmd));
    this.#port = FIRST_SERVICE_PORT + places;
    if (this.#port > LAST_SERVICE_PORT) throw new RangeError('too many cases for two digits');
    places++;
    this.#mark = 1 + places;
  }

  /** The same event here. */
  translate(event: Event): Event {
    switch (event.op) {
      case 'cmd':
        return { ...event, cmd: this.#text(event.cmd) };
      case 'view':
        return { ...event, stdout: this.#text(event.stdout) };
      case 'tcp':
      case 'udp':
        return { ...event, client: this.#client(event.client), vip: this.#text(event.vip) };
      case 'close':
        return { ...event, conns: event.conns.map((connection) => this.#connection(connection)) };
      default:
        return event;
    }
  }

  #text(text: string): string {
    if (!this.#isMarked) return text.replace(/\b(198\.51\.100\.\d+):80\b/g, `$1:${this.#port}`);
    return text.replace(/( -f |--set-mark |^FWM {2})1\b/gm, `$1${this.#mark}`);
  }

  #client(recorded: string): string {
    const known = this.#clients.get(recorded);
    if (known !== undefined) return known;
    const client = freshClient(recorded.split(':')[0]!);
    this.#clients.set(recorded, client);
    return client;
  }

  /** "CLIENT->SERVER" */
  #connection(recorded: string): string {
    const [client = '', server = ''] = recorded.split('->');
    return `${this.#client(client)}->${server}`;
  }
}
