/**
 * What the documents show to be typed or written: fenced blocks of Markdown, literal blocks of
 * manual pages (mdoc). Paths are relative to the project's root.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(__dirname, '..', '..', '..');

export interface Block {
  /** As the fence names it, '' for none. */
  readonly language: string;
  readonly lines: readonly string[];
}

export function readDocument(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** The Markdown files for readers of the project; the addon's own README is another matter. */
export function markdownFiles(): string[] {
  const ofDocs = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
  return ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...ofDocs.map((name) => `docs/${name}`)];
}

export function fencedBlocks(text: string): Block[] {
  const blocks: Block[] = [];
  for (const [, language, body] of text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)) {
    blocks.push({ language: language!, lines: body!.trimEnd().split('\n') });
  }
  return blocks;
}

export function literalBlocks(page: string): Block[] {
  return [...page.matchAll(/^\.Bd -literal.*\n([\s\S]*?)^\.Ed$/gm)].map(([, body]) => ({
    language: '',
    lines: body!.trimEnd().split('\n'),
  }));
}
