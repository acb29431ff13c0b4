/**
 * The MACs that the served interfaces take frames for, kept current for the XDP program: their own;
 * that of the bridge or bond they belong to; those of macvlans on top of them, such as the virtual
 * routers (VRRP) that keepalived makes with `use_vmac`. Read by rtnetlink at start and after each
 * notification about a link.
 */
import type { Log } from './log/events';
import { AF_UNSPEC, GROUP_LINK, type LinkMessage, NETLINK_ROUTE } from './netlink';
import {
  discardAll,
  type NetlinkAddon,
  type NetlinkHandle,
  NetlinkSocket,
  ofKind,
  receiveAll,
} from './netlinkSocket';
import type { RedirectInterface } from './redirect';

/** Notifications are gathered this long before links are dumped. */
const COALESCE_MS = 20;
const RETRY_MS = 1000;
const RECEIVE_BYTES = 65536;
const MAC_BYTES = 6;

/** What the XDP program is told of each of `names`; index 0: there is none of that name. */
export function interfacesOf(
  names: readonly string[],
  links: readonly LinkMessage[],
): readonly RedirectInterface[] {
  const byIndex = new Map(links.map((link) => [link.index, link]));
  return names.map((name) => {
    const link = links.find((one) => one.name === name);
    if (link === undefined) return { index: 0, mac: '' };
    const mac = textOf(link);
    const master = byIndex.get(link.master);
    const others = [
      ...(master === undefined ? [] : [master]),
      ...links.filter(({ linkKind, parent }) => linkKind === 'macvlan' && parent === link.index),
    ];
    const otherMacs = others.map(textOf).filter((other) => other !== '' && other !== mac);
    return { index: link.index, mac, otherMacs: [...new Set(otherMacs)].sort() };
  });
}

/** '' for an interface without a MAC. */
function textOf({ mac }: LinkMessage): string {
  if (mac.length !== MAC_BYTES) return '';
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export interface RedirectMacsOptions {
  readonly addon: NetlinkAddon;
  /** Names in slot order. */
  readonly interfaces: readonly string[];
  readonly onChange: (interfaces: readonly RedirectInterface[]) => void;
  readonly log: Log;
}

export class RedirectMacs {
  readonly #options: RedirectMacsOptions;
  readonly #socket: NetlinkSocket;
  readonly #events: NetlinkHandle;
  readonly #buffer = new Uint8Array(RECEIVE_BYTES);
  #watcher: { close(): void } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #told = '';
  #stopped = false;

  /** Opens the sockets; throws what the addon throws. */
  constructor(options: RedirectMacsOptions) {
    this.#options = options;
    this.#socket = new NetlinkSocket(options.addon);
    try {
      this.#events = options.addon.openNetlink(NETLINK_ROUTE, [GROUP_LINK]);
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  /** Resolves when `onChange` has been told; rejects when the links cannot be read. */
  async start(): Promise<void> {
    this.#watch();
    await this.#refresh();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#watcher?.close();
    this.#events.close();
    this.#socket.close();
  }

  /** Anew after an error: libuv stops watching an fd that polled as one. */
  #watch(): void {
    this.#watcher?.close();
    this.#watcher = this.#options.addon.watch(this.#events.fd, () => this.#readEvents());
  }

  /** What they say is in the dump, too. */
  #readEvents(): void {
    try {
      receiveAll(this.#events, this.#buffer, () => undefined);
    } catch {
      discardAll(this.#events, this.#buffer);
      this.#watch();
    }
    this.#schedule(COALESCE_MS);
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#refresh().catch((error: unknown) => {
        if (this.#stopped) return;
        this.#options.log(
          'error',
          'kernel_unread',
          `MACs of the interfaces: ${error}; trying again`,
        );
        this.#schedule(RETRY_MS);
      });
    }, delayMs);
  }

  async #refresh(): Promise<void> {
    const links = ofKind(await this.#socket.dump('links', AF_UNSPEC), 'link');
    if (this.#stopped) return;
    const interfaces = interfacesOf(this.#options.interfaces, links);
    const text = JSON.stringify(interfaces);
    if (text === this.#told) return;
    this.#options.onChange(interfaces);
    this.#told = text;
  }
}
