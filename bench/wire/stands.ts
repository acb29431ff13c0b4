/** When contenders are started and stopped: each afresh for its turn, or all once, side by side. */
import type { Contender } from './contender';
import { WireLab } from './lab';
import type { LabSettings } from './settings';
import { Stand } from './stand';

export interface Stands {
  /** A contender that is ready; `isFresh`: it has seen no traffic yet. */
  enter(contender: Contender): Promise<{ readonly stand: Stand; readonly isFresh: boolean }>;
  /** Its turn is over. Returns what it counted, or nothing as long as it goes on standing. */
  leave(contender: Contender, stand: Stand): Promise<string>;
  /** Also what is left of a run that failed. */
  close(): void;
}

/** One lab; a contender lives for one turn. */
export class FreshStands implements Stands {
  readonly #lab: WireLab;

  constructor(settings: LabSettings) {
    this.#lab = new WireLab(settings);
  }

  async enter(contender: Contender) {
    return { stand: await Stand.start(this.#lab, contender), isFresh: true };
  }

  leave(_: Contender, stand: Stand): Promise<string> {
    return stand.stop();
  }

  close(): void {
    this.#lab.close();
  }
}

/** A lab for each, of which all but the one whose turn it is stand still. */
export class LastingStands implements Stands {
  readonly #settings: LabSettings;
  readonly #labs: WireLab[] = [];
  readonly #stands = new Map<Contender, Stand>();

  constructor(settings: LabSettings) {
    this.#settings = settings;
  }

  async enter(contender: Contender) {
    const standing = this.#stands.get(contender);
    if (standing !== undefined) {
      await standing.resume();
      return { stand: standing, isFresh: false };
    }
    const lab = new WireLab(this.#settings);
    this.#labs.push(lab);
    const stand = await Stand.start(lab, contender);
    this.#stands.set(contender, stand);
    return { stand, isFresh: true };
  }

  async leave(_: Contender, stand: Stand): Promise<string> {
    stand.pause();
    return '';
  }

  close(): void {
    for (const lab of this.#labs) lab.close();
  }
}
