/**
 * The typed door to the native addon (native/xsk-napi). Loading it needs the built addon: modules
 * that must work without it (unit tests, command-line tools) import types only.
 */
import type * as XskNapi from 'xsk-napi';
import { LINE_BYTES } from '../layout/record';

export type * from 'xsk-napi';

export const addon: typeof XskNapi = require('xsk-napi');
export const { SOCKET_COUNTERS, XDP_VERDICTS } = addon;

/** Bytes from a buffer's start to the first cache line that begins in it. */
export function lineOffset(buffer: SharedArrayBuffer): number {
  return addon.pageOffset(buffer) % LINE_BYTES;
}
