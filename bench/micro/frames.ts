/** What the micro benches read: frames in shared memory. */
export const FRAMES = 64;
export const STRIDE = 2048;

/** Offsets of the five fields that are read: EtherType, TTL and protocol, source, destination. */
export const LAYOUT = { at: { type: 12, ttl: 22, protocol: 23, source: 26, destination: 30 } };

export const buffer = new SharedArrayBuffer(FRAMES * STRIDE);
export const view = new DataView(buffer);
export const bytes = new Uint8Array(buffer);

for (let at = 0; at < buffer.byteLength; at++) bytes[at] = (at * 31) & 0xff;
