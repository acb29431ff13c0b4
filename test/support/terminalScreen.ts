/**
 * A small terminal, for tests and pictures of `xvs top`: takes what a program writes and holds the
 * screen that an operator would see. Knows what xvs uses, and throws at any other sequence.
 */

export interface Cell {
  readonly character: string;
  /** SGR parameters in force when it was written, as "1;31"; '' for none. */
  readonly style: string;
}

const BLANK: Cell = { character: ' ', style: '' };
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals are sent them.
const PIECE = /\x1b\[(\??)([0-9;]*)([A-Za-z])|\x1b|[\s\S]/gu;

export class TerminalScreen {
  readonly columns: number;
  readonly rows: number;
  /** Private modes that are set: 1049 is the other screen, 25 the cursor, 2026 a frame. */
  readonly modes = new Set(['25']);
  /** Cells that were written, blanks too. */
  written = 0;
  #cells: Cell[][];
  #row = 0;
  #column = 0;
  #style = '';
  #rest = '';

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
    this.#cells = this.#blank();
  }

  get cells(): readonly (readonly Cell[])[] {
    return this.#cells;
  }

  /** The screen's lines, without blanks at their ends. */
  get lines(): string[] {
    return this.#cells.map((row) =>
      row
        .map(({ character }) => character)
        .join('')
        .trimEnd(),
    );
  }

  get text(): string {
    return this.lines.join('\n');
  }

  /** A sequence may come in pieces. */
  write(text: string): void {
    const whole = this.#rest + text;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the beginning of a sequence.
    const open = /\x1b(?:\[\??[0-9;]*)?$/.exec(whole);
    this.#rest = open === null ? '' : open[0];
    const complete = open === null ? whole : whole.slice(0, open.index);
    for (const [piece, isPrivate, parameters, final] of complete.matchAll(PIECE)) {
      if (final !== undefined) this.#control(piece, isPrivate!, parameters!, final);
      else this.#put(piece);
    }
  }

  #blank(): Cell[][] {
    return Array.from({ length: this.rows }, () =>
      Array.from({ length: this.columns }, () => BLANK),
    );
  }

  #put(character: string): void {
    if (character === '\r') this.#column = 0;
    else if (character === '\n') this.#row = Math.min(this.rows - 1, this.#row + 1);
    else {
      if (character < ' ') throw new Error(`control character ${character.charCodeAt(0)}`);
      this.written++;
      // What is written beyond the edge stays at the edge, as terminals do without wrapping.
      const column = Math.min(this.#column, this.columns - 1);
      this.#cells[this.#row]![column] = { character, style: this.#style };
      this.#column++;
    }
  }

  #control(piece: string, isPrivate: string, parameters: string, final: string): void {
    const numbers = parameters.split(';').map(Number);
    if (isPrivate !== '' && (final === 'h' || final === 'l')) {
      if (final === 'h') this.modes.add(parameters);
      else this.modes.delete(parameters);
    } else if (final === 'H') {
      this.#row = Math.min(this.rows, numbers[0] || 1) - 1;
      this.#column = (numbers[1] || 1) - 1;
    } else if (final === 'K') this.#cells[this.#row]!.fill(BLANK, this.#column);
    else if (final === 'J' && parameters === '2') this.#cells = this.#blank();
    else if (final === 'm') this.#style = parameters === '0' ? '' : parameters;
    else throw new Error(`the terminal does not know ${JSON.stringify(piece)}`);
  }
}
