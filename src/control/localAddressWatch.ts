/**
 * Says when a local address of a service is none of the host's own: nobody would bring the replies
 * to it here. It is not refused, for addresses come and go (a virtual router's among them).
 */
import { addressWords, formatIpv4 } from '../net/address';
import type { Director } from './director';
import { serviceId } from './model';
import type { Command } from './protocol';

type Warn = (message: string) => void;

/** Text by which addresses of both families are compared. */
function keyOf(words: readonly number[]): string {
  return words.join();
}

export class LocalAddressWatch {
  readonly #warn: Warn;
  /** null: not known yet. */
  #own4: ReadonlySet<string> | null = null;
  #own6: ReadonlySet<string> = new Set();
  #said = new Set<string>();
  #director: Director | null = null;

  constructor(warn: Warn) {
    this.#warn = warn;
  }

  /** The host's own IPv4 addresses are these now. */
  own4(addresses: readonly number[]): void {
    this.#own4 = new Set(addresses.map(formatIpv4));
    this.#look();
  }

  /** Its IPv6 addresses, four words each. */
  own6(addresses: readonly (readonly number[])[]): void {
    this.#own6 = new Set(addresses.map(keyOf));
    this.#look();
  }

  /** `command`: what was done; null: anything may be different. */
  changed(director: Director, command: Command | null): void {
    this.#director = director;
    if (command === null) this.#look();
    else if (command.command === 'add-local-address' && this.#own4 !== null) {
      const { service, address } = command;
      if (this.#isOwn(address)) return;
      this.#say(address, serviceId(service));
      this.#said.add(address);
    }
  }

  /** Each address is warned of once, until it is the host's or no service has it. */
  #look(): void {
    if (this.#director === null || this.#own4 === null) return;
    const foreign = new Map<string, string>();
    for (const { key, localAddresses } of this.#director.services) {
      for (const { address } of localAddresses) {
        if (!this.#isOwn(address)) foreign.set(address, serviceId(key));
      }
    }
    for (const [address, service] of foreign) this.#say(address, service);
    this.#said = new Set(foreign.keys());
  }

  #say(address: string, service: string): void {
    if (this.#said.has(address)) return;
    this.#warn(
      `service ${service}: local address ${address} is none of this host's addresses: ` +
        'replies of real servers to it will not come here',
    );
  }

  #isOwn(address: string): boolean {
    if (!address.includes(':')) return this.#own4!.has(address);
    return this.#own6.has(keyOf([...addressWords(address)]));
  }
}
