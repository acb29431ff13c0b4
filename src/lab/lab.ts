/**
 * What a lab is, and which labs there are. Each builds its hosts, runs the daemon, sends real
 * requests and judges the answers.
 */
import type { Director } from './director';
import type { Topology } from './topology';

export interface LabOptions {
  /** Leave hosts and daemon standing afterwards. */
  readonly keep: boolean;
  /** Prints a line, or several, as they happen. */
  readonly say: (text: string) => void;
  /** Told, with `keep`, what stays. */
  readonly left: (topology: Topology, director: Director) => void;
}

export interface Lab {
  readonly name: string;
  readonly title: string;
  /** Resolves with whether what came was what the lab expects. */
  readonly run: (options: LabOptions) => Promise<boolean>;
}
