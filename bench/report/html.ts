/** Text into HTML. */

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

export interface Column {
  readonly title: string;
  /** Figures stand on the right. */
  readonly isFigure: boolean;
}

/** Cells are HTML already. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  style = '',
): string {
  const classOf = ({ isFigure }: Column) => (isFigure ? ' class="figure"' : '');
  const head = columns.map(
    (column) => `<th scope="col"${classOf(column)}>${escapeHtml(column.title)}</th>`,
  );
  const body = rows.map((cells) => {
    const parts = cells.map((cell, place) => `<td${classOf(columns[place]!)}>${cell}</td>`);
    return `<tr>${parts.join('')}</tr>`;
  });
  const attribute = style === '' ? '' : ` class="${style}"`;
  return (
    `<div class="scroll"><table${attribute}><thead><tr>${head.join('')}</tr></thead>\n` +
    `<tbody>${body.join('\n')}</tbody></table></div>\n`
  );
}

/** A verdict: a sign for those who see no colours, and the word. */
export function word(text: string, meaning: 'good' | 'bad' | 'neither'): string {
  const sign = { good: '✓ ', bad: '✗ ', neither: '' }[meaning];
  const style = meaning === 'neither' ? 'word' : `word ${meaning}`;
  return `<span class="${style}">${sign}${escapeHtml(text)}</span>`;
}

/** `1 h 2 min`, `4 min 10 s`, `3.2 s`. */
export function formatDuration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
