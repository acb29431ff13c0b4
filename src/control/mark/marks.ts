/**
 * The mark rules there are: one chain for IPv4 and one for IPv6, as iptables and ip6tables have
 * them. A change is checked first, then applied whole; `publish` gets the records for workers and
 * for the XDP program.
 */
import { MARK_RULES_MAX } from '../../table/mark';
import { DirectorError } from '../error';
import type { MarkCommand, MarkList } from '../protocol';
import type { Routes } from '../socket';
import { describeCommand, formatRule } from './format';
import { parseRules } from './parse';
import { systemPorts } from './portNames';
import { parseMarkCommand } from './request';
import { compileRule, type MarkRule } from './rule';
import { MarkError } from './values';

type Chains = Readonly<Record<4 | 6, readonly MarkRule[]>>;

export class Marks {
  #chains: Chains = { 4: [], 6: [] };
  readonly #interfaces: readonly string[];
  readonly #publish: (rules: readonly Int32Array[]) => void;

  /** `interfaces`: names of the interfaces xvs serves, in slot order. */
  constructor(interfaces: readonly string[], publish: (rules: readonly Int32Array[]) => void) {
    this.#interfaces = interfaces;
    this.#publish = publish;
  }

  list(): MarkList {
    const listed = (family: 4 | 6) =>
      this.#chains[family].map((rule) => ({ family, rule: formatRule(rule) }));
    return { rules: [...listed(4), ...listed(6)] };
  }

  /** Does one command, or throws a DirectorError and changes nothing. */
  execute(command: MarkCommand): void {
    switch (command.operation) {
      case 'append':
        this.#change(command.family, (rules) => [...rules, ...parsed(command)]);
        break;
      case 'insert':
        this.#change(command.family, (rules) => {
          const at = requireNumber(command.position, rules.length + 1) - 1;
          return [...rules.slice(0, at), ...parsed(command), ...rules.slice(at)];
        });
        break;
      case 'delete':
        this.#change(command.family, (rules) => parsed(command).reduce(withoutRule, rules));
        break;
      case 'delete-number':
        this.#change(command.family, (rules) => {
          const at = requireNumber(command.number, rules.length) - 1;
          return rules.filter((_rule, index) => index !== at);
        });
        break;
      case 'flush': {
        const { family } = command;
        const kept = (one: 4 | 6) => (family === null || family === one ? [] : this.#chains[one]);
        this.#set({ 4: kept(4), 6: kept(6) });
        break;
      }
    }
  }

  /** Makes the rules what a configuration says. False: they are that already. */
  replace(rules: readonly MarkRule[]): boolean {
    const chains = {
      4: rules.filter(({ family }) => family === 4),
      6: rules.filter(({ family }) => family === 6),
    };
    if (JSON.stringify(chains) === JSON.stringify(this.#chains)) return false;
    this.#set(chains);
    return true;
  }

  #change(family: 4 | 6, change: (rules: readonly MarkRule[]) => readonly MarkRule[]): void {
    this.#set({ ...this.#chains, [family]: change(this.#chains[family]) });
  }

  #set(chains: Chains): void {
    const rules = [...chains[4], ...chains[6]];
    checkCount(rules);
    const before = this.#chains;
    this.#chains = chains;
    try {
      this.#publish(rules.map((rule) => compileRule(rule, this.#interfaces)));
    } catch (error) {
      this.#chains = before;
      throw error;
    }
  }
}

/** Throws a DirectorError when there are more rules than fit. */
export function checkCount(rules: readonly MarkRule[]): void {
  if (rules.length <= MARK_RULES_MAX) return;
  const message = `${rules.length} mark rules: at most ${MARK_RULES_MAX} are allowed`;
  throw new DirectorError('ERR_TABLE_FULL', message);
}

function parsed(command: {
  readonly family: 4 | 6;
  readonly rules: readonly string[];
}): readonly MarkRule[] {
  try {
    return command.rules.flatMap((text) => parseRules(text, command.family, systemPorts));
  } catch (error) {
    if (!(error instanceof MarkError)) throw error;
    throw new DirectorError('ERR_VALUE', error.message, { cause: error });
  }
}

/** `rules` without the first one that is the same as `wanted`. */
function withoutRule(rules: readonly MarkRule[], wanted: MarkRule): readonly MarkRule[] {
  const text = formatRule(wanted);
  const at = rules.findIndex((rule) => formatRule(rule) === text);
  if (at < 0) throw new DirectorError('ERR_VALUE', `"${text}": there is no such rule`);
  return rules.filter((_rule, index) => index !== at);
}

function requireNumber(number: number, most: number): number {
  if (number >= 1 && number <= most) return number;
  const allowed = most === 0 ? 'there are no rules' : `1 to ${most} are allowed`;
  throw new DirectorError('ERR_VALUE', `rule number ${number}: ${allowed}`);
}

/** What the admin socket serves of marks. */
export function markRoutes(marks: Marks): Routes {
  return {
    'GET /v1/marks': () => marks.list(),
    'POST /v1/marks': {
      tool: 'xvs mark',
      change: (body, note) => {
        const command = parseMarkCommand(body);
        note(describeCommand(command));
        marks.execute(command);
        return {};
      },
    },
  };
}
