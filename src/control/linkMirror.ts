/**
 * The kernel's interfaces and their primary addresses in the LinkTable. Fed by NextHopMirror with
 * what rtnetlink says.
 */

import type { Link } from '../table/link';
import type { NextHopTable } from '../table/nextHop';
import { IFF_RUNNING, IFF_UP, type LinkMessage, macHigh, macLow } from './netlink';
import { OwnAddresses } from './ownAddresses';

const NO_LINK: Link = {
  interfaceIndex: 0,
  macHigh: 0,
  macLow: 0,
  mtu: 0,
  up: false,
  address: 0,
};

export interface LinkChange {
  readonly slot: number;
  readonly name: string;
  readonly link: Link;
}

export interface LinkListener {
  readonly onChange: (change: LinkChange) => void;
  /** Another interface than before has a slot; ifindex 0 = none. */
  readonly onReplaced: (slot: number, before: number) => void;
  readonly warn: (warning: string) => void;
}

export class LinkMirror {
  private readonly table: NextHopTable;
  /** Names in slot order. */
  private readonly interfaces: readonly string[];
  private readonly listener: LinkListener;
  /** All interfaces of the host by ifindex. */
  private links = new Map<number, LinkMessage>();
  private ownAddresses = new OwnAddresses([]);

  constructor(table: NextHopTable, interfaces: readonly string[], listener: LinkListener) {
    this.table = table;
    this.interfaces = interfaces;
    this.listener = listener;
  }

  get own(): OwnAddresses {
    return this.ownAddresses;
  }

  /** The host's addresses, all of them. */
  setAddresses(own: OwnAddresses): void {
    this.ownAddresses = own;
    this.apply();
  }

  /** A whole dump. */
  replace(messages: readonly LinkMessage[]): void {
    this.links = new Map(messages.map((link) => [link.index, link]));
    this.apply();
    for (const link of messages) {
      if (link.linkKind === 'vrf') {
        this.listener.warn(`interface ${link.name} is a VRF: its routes are not mirrored`);
      }
    }
  }

  /** A notification. Returns whether it says anything that matters here. */
  take(message: LinkMessage): boolean {
    const known = this.links.get(message.index);
    if (message.deleted) {
      this.links.delete(message.index);
    } else {
      this.links.set(message.index, message);
    }
    const matters = message.deleted || known === undefined || differs(known, message);
    if (matters) {
      this.apply();
    }
    return matters;
  }

  /** Brings the link table up to date with what is known of links and addresses. */
  private apply(): void {
    const byName = new Map([...this.links.values()].map((link) => [link.name, link]));
    this.interfaces.forEach((name, slot) => {
      const message = byName.get(name);
      const before = this.table.links.interfaceIndex(slot);
      const link = message === undefined ? NO_LINK : this.linkOf(message);
      if (before !== link.interfaceIndex) {
        this.listener.onReplaced(slot, before);
      }
      if (this.table.links.set(slot, link)) {
        this.table.bump();
        this.listener.onChange({ slot, name, link });
      }
      const master = message === undefined ? undefined : this.links.get(message.master);
      if (master !== undefined) {
        this.listener.warn(
          `interface ${name} belongs to ${master.name}: routes leave by ${master.name}, which ` +
            'xvs does not serve; the host forwards such frames',
        );
      }
    });
  }

  private linkOf(message: LinkMessage): Link {
    const both = IFF_UP | IFF_RUNNING;
    return {
      interfaceIndex: message.index,
      macHigh: macHigh(message.mac),
      macLow: macLow(message.mac),
      mtu: message.mtu,
      up: (message.flags & both) === both,
      address: this.ownAddresses.primary4(message.index),
      address6: this.ownAddresses.primary6(message.index),
    };
  }
}

function differs(a: LinkMessage, b: LinkMessage): boolean {
  return (
    ((a.flags ^ b.flags) & (IFF_UP | IFF_RUNNING)) !== 0 ||
    a.mtu !== b.mtu ||
    a.name !== b.name ||
    a.master !== b.master ||
    macHigh(a.mac) !== macHigh(b.mac) ||
    macLow(a.mac) !== macLow(b.mac)
  );
}
