/**
 * Keys and values of the XDP program's maps of interfaces and their MACs, as
 * native/xsk-napi/bpf/maps.h declares them: words as the machine has them.
 */
/** Entries a map is to have, by the text of their key. */
export type Entries = Map<string, { readonly key: Uint8Array; readonly value: Uint8Array }>;

/** "02:00:00:00:00:01" as six bytes. */
export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (part) => Number.parseInt(part, 16));
}

/** struct interface. `mac` null: frames to any MAC are looked at. */
export function interfaceValue(index: number, markBit: number, mac: Uint8Array | null): Uint8Array {
  const value = new Uint8Array(NO_INTERFACE.length);
  value.set(word(index));
  value.set(word(markBit), 4);
  if (mac !== null) {
    value.set(mac, 8);
    value[14] = 1;
  }
  return value;
}
/** A free slot. */
export const NO_INTERFACE = new Uint8Array(16);
const INTERFACE_SLOTS = 256;
const INTERFACE_PROBES = 4;

/** Key of the first slot that an interface may have in the array; null: all are taken. */
export function freeInterfaceSlot(taken: Entries, index: number): Uint8Array | null {
  for (let probe = 0; probe < INTERFACE_PROBES; probe++) {
    const key = word((index + probe) % INTERFACE_SLOTS);
    if (!taken.has(idOf(key))) return key;
  }
  return null;
}

/** struct mac_key. */
export function macKey(interfaceIndex: number, mac: Uint8Array): Uint8Array {
  const key = new Uint8Array(12);
  key.set(word(interfaceIndex));
  key.set(mac, 4);
  return key;
}

export function word(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

export function put(entries: Entries, key: Uint8Array, value: Uint8Array): void {
  entries.set(idOf(key), { key, value });
}

function idOf(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}
