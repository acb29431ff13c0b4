/** The verbs of `xvs`, each in a file of its own that is loaded only when it is needed. */
import type { Verb } from './verb';

export interface VerbEntry {
  /** For the list of verbs: what it does, in a line. */
  readonly summary: string;
  load(): Verb;
}

/** In the order in which `xvs --help` lists them. */
export const VERBS: Readonly<Record<string, VerbEntry>> = {
  apply: {
    summary: 'make services and timeouts what a file says, whole or not at all',
    load: () => (require('./apply') as typeof import('./apply')).verb,
  },
  connections: {
    summary: 'list, filter, sort and count connections',
    load: () => (require('./connections') as typeof import('./connections')).verb,
  },
  decap: {
    summary: 'on a real server: strip ipip, gre and gue from what a director sends',
    load: () => (require('./decap') as typeof import('./decap')).verb,
  },
  doctor: {
    summary: 'find what is wrong with host and director, and say what to do',
    load: () => (require('./doctor') as typeof import('./doctor')).verb,
  },
  explain: {
    summary: 'what would happen to a packet, decision by decision',
    load: () => (require('./explain') as typeof import('./explain')).verb,
  },
  mark: {
    summary: 'firewall marks in the syntax of iptables: list, change, import',
    load: () => (require('./mark') as typeof import('./mark')).verb,
  },
  replay: {
    summary: 'the data plane over a capture, without root or a director',
    load: () => (require('./replay') as typeof import('./replay')).verb,
  },
  sysctl: {
    summary: "IPVS's switches by their names: list and set",
    load: () => (require('./sysctl') as typeof import('./sysctl')).verb,
  },
  top: {
    summary: 'services, real servers, workers and drops, live',
    load: () => (require('./top') as typeof import('./top')).verb,
  },
  trace: {
    summary: 'live packets: what comes in, what goes out, and why',
    load: () => (require('./trace') as typeof import('./trace')).verb,
  },
};
