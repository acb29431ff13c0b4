/** A port that brings and takes nothing: for the parser, whose packet has one and never asks it. */
import type { Port } from '../port/port';

export const NO_PORT: Port = {
  name: 'none',
  slot: -1,
  rx: new Int32Array(0),
  tx: new Int32Array(0),
  txCount: 0,
  receive: () => 0,
  transmit: () => 0,
};
