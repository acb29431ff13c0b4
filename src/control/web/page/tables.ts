/** The page's tables: the sections of `xvs top`, sorted by a click on a column's head. */
import type { Picture, Row } from '../../overview/picture';
import {
  type Column,
  cellText,
  filterRows,
  firstOrder,
  type Order,
  rowsOf,
  SECTIONS,
  type SectionName,
  sortRows,
} from '../../overview/sections';
import { whole } from '../../overview/text';
import { type Element, element, make } from './browser';

/** Of ten thousand services a browser would draw nothing else. */
const ROWS_MAX = 100;

export interface TableEvents {
  /** The order or the choice changed: what is shown has to be made anew. */
  changed(): void;
  /** A service was chosen. */
  choose(service: string): void;
}

export class SectionTable {
  readonly #name: SectionName;
  readonly #title: Element;
  readonly #heads: readonly (readonly [Column, Element])[];
  readonly #body: Element;
  readonly #events: TableEvents;
  #order: Order;

  constructor(name: SectionName, events: TableEvents) {
    const { columns, order } = SECTIONS[name];
    this.#name = name;
    this.#events = events;
    this.#order = order;
    this.#title = make('h2');
    this.#body = make('tbody');
    this.#heads = columns.map((column) => [column, this.#head(column)]);
    const row = make('tr');
    row.append(...this.#heads.map(([, head]) => head));
    const head = make('thead');
    head.append(row);
    const table = make('table');
    table.append(head, this.#body);
    const scroll = make('div', '', 'scroll');
    scroll.append(table);
    element(name).append(this.#title, scroll);
  }

  /** `about`: what the rows are of, beside their number. */
  show(picture: Picture, filter: string, chosen: string | null, about = ''): void {
    const { columns, title } = SECTIONS[this.#name];
    const rows = sortRows(filterRows(rowsOf(picture, this.#name), columns, filter), this.#order);
    const shown = rows.slice(0, ROWS_MAX);
    const count = shown.length < rows.length ? `${ROWS_MAX} of ${whole(rows.length)}` : '';
    this.#title.textContent = `${title} `;
    this.#title.append(make('small', [about, count].filter((text) => text !== '').join(', ')));
    for (const [column, head] of this.#heads) {
      const sorted = column.key === this.#order.key;
      const direction = this.#order.descending ? 'descending' : 'ascending';
      if (sorted) head.setAttribute('aria-sort', direction);
      else head.removeAttribute('aria-sort');
    }
    this.#body.replaceChildren(...shown.map((row) => this.#row(row, columns, chosen)));
  }

  #head(column: Column): Element {
    const head = make('th', '', column.kind === 'text' ? 'text' : '');
    const button = make('button', column.title);
    button.type = 'button';
    button.addEventListener('click', () => {
      const again = this.#order.key === column.key;
      this.#order = again
        ? { key: column.key, descending: !this.#order.descending }
        : firstOrder(column);
      this.#events.changed();
    });
    head.append(button);
    return head;
  }

  #row(row: Row, columns: readonly Column[], chosen: string | null): Element {
    const made = make('tr', '', row.id === chosen ? 'chosen' : classOf(row));
    for (const { key, kind } of columns) {
      const text = cellText(row[key], kind);
      const className = kind === 'text' ? 'text' : '';
      if (this.#name !== 'services' || key !== 'service') {
        made.append(make('td', text, className));
        continue;
      }
      const cell = make('td', '', className);
      const button = make('button', text);
      button.type = 'button';
      button.addEventListener('click', () => this.#events.choose(row.id));
      cell.append(button);
      made.append(cell);
    }
    return made;
  }
}

function classOf(row: Row): string {
  if (row['state'] === 'overload' || (row['kind'] === 'drop' && Number(row['rate']) > 0)) {
    return 'bad';
  }
  return row['state'] === 'quiet' || row['total'] === 0 ? 'quiet' : '';
}
