/**
 * What a command line asks for, once parsed and checked: types shared by the rooms of the tool.
 * Types and one error class only.
 */
import type { Command, ServiceKey } from '../control/protocol';

export type OutputView =
  | 'default'
  | 'stats'
  | 'rate'
  | 'thresholds'
  | 'persistent-conn'
  | 'tun-info';

export interface ListFormat {
  readonly view: OutputView;
  readonly numeric: boolean;
  readonly exact: boolean;
  readonly sorted: boolean;
  readonly json: boolean;
}

export type SyncRole = 'master' | 'backup';

/** Connection sync: parsed here; a director without it answers with an error. */
export type SyncCommand =
  | {
      readonly command: 'start-daemon';
      readonly role: SyncRole;
      readonly interface: string;
      readonly syncId: number;
      /** 0 or '' = the director's default. */
      readonly maxLength: number;
      readonly group: string;
      readonly port: number;
      readonly ttl: number;
    }
  | { readonly command: 'stop-daemon'; readonly role: SyncRole; readonly syncId: number };

export type Request =
  | { readonly kind: 'command'; readonly command: Command | SyncCommand }
  | {
      readonly kind: 'list-services';
      readonly service: ServiceKey | null;
      readonly format: ListFormat;
    }
  | { readonly kind: 'list-connections'; readonly format: ListFormat }
  | {
      readonly kind: 'list-local-addresses';
      readonly service: ServiceKey | null;
      readonly json: boolean;
    }
  | { readonly kind: 'list-timeouts'; readonly format: ListFormat }
  | { readonly kind: 'list-daemons'; readonly format: ListFormat }
  | { readonly kind: 'save'; readonly numeric: boolean }
  | { readonly kind: 'restore' }
  | { readonly kind: 'help' }
  | { readonly kind: 'version' };

/** A line the grammar refuses. `message` goes to stderr followed by a newline. */
export class UsageError extends Error {
  readonly exitStatus: number;
  /** Whether a restore ends with it. ipvsadm goes on after a word that it cannot read. */
  readonly endsRestore: boolean;

  constructor(message: string, exitStatus: number, endsRestore = true) {
    super(message);
    this.name = 'UsageError';
    this.exitStatus = exitStatus;
    this.endsRestore = endsRestore;
  }
}

/** Exit status of a line whose words make no sense to the option reader (C's -1). */
export const EXIT_WORDS = 255;
/** Exit status of a line with a wrong value or a wrong combination. */
export const EXIT_USAGE = 2;
/** Exit status when the director refuses a change. */
export const EXIT_REFUSED = 255;
/** Exit status when a listing fails. */
export const EXIT_LISTING = 1;

export function usage(message: string): UsageError {
  return new UsageError(message, EXIT_USAGE);
}
