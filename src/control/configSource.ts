/**
 * The config file as text: which line a key stands on, and the problems found, each with its key,
 * line, value and what is allowed.
 */
import { isMap, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import type { ConfigProblem } from './configError';
import { configJsonSchema } from './configSchema';
import { SYSCTLS_WITHOUT_MEANING } from './sysctl';

export type Path = readonly (string | number)[];

function keyText(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? part : `${text}.${part}`;
  }, '');
}

/** The file with its lines, and the problems found so far. */
export class Source {
  readonly problems: ConfigProblem[] = [];
  readonly value: unknown;
  readonly #root: Node | null;
  readonly #said = new Set<string>();
  readonly #lines = new LineCounter();

  constructor(text: string) {
    const document = parseDocument(text, { lineCounter: this.#lines });
    this.#root = document.contents;
    for (const error of document.errors) {
      const message = error.message.split('\n')[0]?.replace(/ at line .*/, '') ?? '';
      this.problems.push({ key: '', line: this.#lineAt(error.pos[0]), message });
    }
    this.value = document.errors.length > 0 ? null : (document.toJS() ?? {});
  }

  refuse(path: Path, message: string): void {
    const key = keyText(path);
    const id = `${key}\n${message}`;
    if (this.#said.has(id)) return;
    this.#said.add(id);
    this.problems.push({ key, line: this.lineOf(path), message });
  }

  valueAt(path: Path): unknown {
    let value = this.value;
    for (const part of path) value = (value as Record<string | number, unknown> | null)?.[part];
    return value;
  }

  #lineAt(offset: number): number {
    return this.#lines.linePos(offset).line;
  }

  /** Line of the key at `path`, or of what is nearest above it. */
  lineOf(path: Path): number {
    let node: unknown = this.#root;
    let offset = 0;
    for (const part of path) {
      if (isMap(node)) {
        const pair = node.items.find((item) => String(item.key) === String(part));
        if (pair === undefined) break;
        offset = (pair.key as Node).range?.[0] ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        const item = node.items[Number(part)] as Node | undefined;
        if (item === undefined) break;
        offset = item.range?.[0] ?? offset;
        node = item;
      } else break;
    }
    return this.#lineAt(offset);
  }
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
}

/** Keys allowed in the mapping at `path`. */
function allowedKeys(path: Path): readonly string[] {
  let schema: JsonSchema | undefined = configJsonSchema() as JsonSchema;
  const mapping = (one: JsonSchema | undefined): JsonSchema | undefined =>
    one?.anyOf?.find((choice) => choice.properties !== undefined) ?? one;
  for (const part of path) {
    schema = typeof part === 'number' ? schema?.items : schema?.properties?.[part];
    schema = mapping(schema);
  }
  return Object.keys(schema?.properties ?? {});
}

export function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

export function reportIssue(source: Source, issue: z.core.$ZodIssue, above: Path): void {
  const path = [...above, ...(issue.path as Path)];
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) {
      const allowed = allowedKeys(path).join(', ');
      const isSysctl = path[0] === 'sysctl' && Object.hasOwn(SYSCTLS_WITHOUT_MEANING, key);
      const reason = isSysctl ? `no meaning here: ${SYSCTLS_WITHOUT_MEANING[key]}` : 'unknown key';
      source.refuse([...path, key], `${reason}; allowed here are ${allowed}`);
    }
    return;
  }
  const value = source.valueAt(path);
  if (issue.code === 'invalid_union' && value !== null && typeof value === 'object') {
    const inside = issue.errors.find((choice) =>
      choice.some((one) => one.code !== 'invalid_value'),
    );
    for (const one of inside ?? []) reportIssue(source, one, path);
    if (inside !== undefined) return;
  }
  if (value === undefined) source.refuse(path, `missing: ${issue.message}`);
  else source.refuse(path, `value ${shown(value)}: ${issue.message}`);
}
