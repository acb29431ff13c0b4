/** What the overview's reasons mean, in a sentence, for readers that have no table of their own. */
import { DROP_MEANINGS, PASS_MEANINGS } from '../reasons';

/** Counters of AF_XDP sockets that tell of frames lost or delayed; see SOCKET_COUNTERS. */
export const SOCKET_MEANINGS: Readonly<Record<string, string>> = {
  kernelRxDropped: 'The kernel had a frame for a socket that had no room for it.',
  kernelRxRingFull: 'The rx ring was full: the worker does not keep up with this queue.',
  kernelFillRingEmpty: 'The fill ring was empty: no free chunk for a frame that came.',
  kernelRxInvalid: 'The kernel refused a descriptor of the fill ring.',
  kernelTxInvalid: 'The kernel refused a descriptor of the tx ring.',
  txRingFull: 'The tx ring was full: a frame that was to leave was given up.',
  txWakeupFailures: 'The kernel did not begin to send when it was asked to.',
  fillStarved: 'The worker had no free chunk for the fill ring.',
};

export type ReasonKind = 'drop' | 'host' | 'socket' | 'xdp';

export function meaningOf(kind: ReasonKind, reason: string): string {
  if (kind === 'xdp') {
    return `XDP program: ${reason.startsWith('redirect_') ? 'to a worker' : 'to the host'}`;
  }
  const meanings: Readonly<Record<string, string>> = {
    drop: DROP_MEANINGS,
    host: PASS_MEANINGS,
    socket: SOCKET_MEANINGS,
  }[kind];
  return meanings[reason] ?? '';
}
