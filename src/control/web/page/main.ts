/**
 * The page's script: asks for an overview, makes a picture of it, shows it, waits. It runs in a
 * browser, with the modules it imports, as browserScript.ts puts them together.
 */
import { makePicture, type Picture } from '../../overview/picture';
import type { Overview } from '../../overview/protocol';
import { SECTION_NAMES } from '../../overview/sections';
import { scaled, share, whole } from '../../overview/text';
import { browser, element, make } from './browser';
import { Charts } from './charts';
import { SectionTable } from './tables';

/** Up to so many real servers are all asked for; of more, those of the chosen service. */
const SERVERS_ALL_MAX = 1000;
const ANSWER_TIMEOUT_MS = 30_000;

class Page {
  readonly #charts = new Charts();
  readonly #tables = SECTION_NAMES.map(
    (name) =>
      [
        name,
        new SectionTable(name, {
          changed: () => this.#show(),
          choose: (service) => this.#choose(service),
        }),
      ] as const,
  );
  #before: Overview | null = null;
  #picture: Picture | null = null;
  #chosen: string | null = null;
  #paused = false;
  #asking = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  start(): void {
    element('filter').addEventListener('input', () => this.#show());
    element('interval').addEventListener('change', () => this.#askNow());
    element('pause').addEventListener('click', () => {
      this.#paused = !this.#paused;
      element('pause').textContent = this.#paused ? 'Go on' : 'Pause';
      this.#say(this.#paused ? 'paused' : 'asking ...', false);
      if (!this.#paused) this.#askNow();
    });
    browser.document.addEventListener('visibilitychange', () => this.#askNow());
    browser.addEventListener('resize', () => this.#charts.resize());
    this.#askNow();
  }

  #choose(service: string): void {
    this.#chosen = this.#chosen === service ? null : service;
    this.#show();
    this.#askNow();
  }

  /** Which real servers are asked for: as the overview has it. */
  get #servers(): string {
    if (this.#chosen !== null) return this.#chosen;
    const levels = this.#before?.tables.find(({ name }) => name === 'real servers');
    if (levels === undefined || levels.used > SERVERS_ALL_MAX) return 'none';
    return 'all';
  }

  #askNow(): void {
    clearTimeout(this.#timer);
    if (!this.#asking && !this.#paused && !browser.document.hidden) void this.#ask();
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    try {
      const path = `/overview.json?${new URLSearchParams({ servers: this.#servers })}`;
      const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const overview = (await answer.json()) as Overview;
      this.#picture = makePicture(this.#before, overview);
      this.#before = overview;
      this.#charts.add(this.#picture);
      this.#show();
      const time = new Date(overview.unixMs).toISOString().slice(11, 19);
      this.#say(`${time} UTC`, false);
    } catch (error) {
      this.#say(`xvsd does not answer: ${(error as Error).message}`, true);
    }
    this.#asking = false;
    this.#timer = setTimeout(() => this.#askNow(), Number(element('interval').value));
  }

  #say(text: string, isBad: boolean): void {
    const state = element('state');
    state.textContent = text;
    state.className = isBad ? 'bad' : '';
  }

  #show(): void {
    const picture = this.#picture;
    if (picture === null) return;
    showTotals(picture);
    const down = picture.interfaces.filter(({ up }) => !up).map(({ name }) => name);
    element('links').textContent = down.length > 0 ? `down: ${down.join(' ')}` : '';
    element('links').className = down.length > 0 ? 'bad' : '';
    const filter = element('filter').value;
    for (const [name, table] of this.#tables) {
      if (name === 'servers')
        table.show(this.#ownServers(picture), filter, null, this.#aboutServers);
      else table.show(picture, filter, this.#chosen);
    }
  }

  #ownServers(picture: Picture): Picture {
    const chosen = this.#chosen;
    if (chosen === null) return picture;
    const servers = picture.servers.filter((row) => row['service'] === chosen);
    return { ...picture, servers };
  }

  get #aboutServers(): string {
    if (this.#chosen !== null) return `of ${this.#chosen}`;
    return this.#servers === 'none' ? 'choose a service' : '';
  }
}

function showTotals({ totals, tables }: Picture): void {
  const used = tables[0]!;
  const tiles: readonly (readonly [string, string, boolean])[] = [
    [`${scaled(totals.inPackets)}/s`, 'packets from clients', false],
    [`${scaled(totals.outPackets)}/s`, 'packets to clients', false],
    [`${scaled(totals.inBits)} bit/s`, 'from clients', false],
    [`${scaled(totals.outBits)} bit/s`, 'to clients', false],
    [`${scaled(totals.connections)}/s`, 'new connections', false],
    [whole(totals.active), 'active connections', false],
    [whole(used.used), `of ${whole(used.capacity)} ${used.name}`, false],
    [share(totals.load), 'load of the busiest worker', false],
    [`${scaled(totals.drops)}/s`, 'frames dropped', totals.drops > 0],
    [`${scaled(totals.host)}/s`, 'frames to the host', false],
  ];
  const made = tiles.map(([value, what, isBad]) => {
    const tile = make('div');
    tile.append(make('b', value, isBad ? 'bad' : ''), make('span', what));
    return tile;
  });
  element('totals').replaceChildren(...made);
}

new Page().start();
