/** What is wrong with a config file; apart from what reads one, which takes long to load. */
export interface ConfigProblem {
  /** As "services[0].servers[1].weight"; '' for the file as a whole. */
  readonly key: string;
  /** From 1; 0 when it belongs to no line. */
  readonly line: number;
  readonly message: string;
}

export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(path: string, problems: readonly ConfigProblem[]) {
    const ordered = problems.toSorted((left, right) => left.line - right.line);
    const lines = ordered.map(({ key, line, message }) => {
      const place = line === 0 ? path : `${path}:${line}`;
      return key === '' ? `${place}: ${message}` : `${place}: ${key}: ${message}`;
    });
    super(lines.join('\n'));
    this.name = 'ConfigError';
    this.problems = ordered;
  }
}
