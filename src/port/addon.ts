/**
 * The typed door to the native addon (native/xsk-napi). Loading it needs the built addon: modules
 * that must work without it (unit tests, command-line tools) import types only.
 */
import type * as XskNapi from 'xsk-napi';

export type * from 'xsk-napi';

export const addon: typeof XskNapi = require('xsk-napi');
export const { SOCKET_COUNTERS, XDP_VERDICTS } = addon;
