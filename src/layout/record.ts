/**
 * Binary records, declared once: fields in order, offsets computed, size checked when the module
 * loads. `record` describes bytes on the wire (network byte order, read with a DataView);
 * `words` describes 32-bit words of a table in shared memory (host byte order, Int32Array).
 */

/** Of the CPU's caches. What lies in two lines costs twice the misses, and is fetched by half. */
export const LINE_BYTES = 64;

const FIELD_BYTES = { u8: 1, u16: 2, u32: 4, i32: 4, mac: 6, v6: 16 } as const;
export type FieldType = keyof typeof FIELD_BYTES;

export interface RecordLayout<Field extends string> {
  readonly name: string;
  /** Bytes of the record. */
  readonly size: number;
  /** Byte offset of each field from the record's start. */
  readonly at: Readonly<Record<Field, number>>;
}

/** Declares a packed wire record. Throws when the fields do not add up to `size` bytes. */
export function record<Field extends string>(
  name: string,
  size: number,
  fields: Readonly<Record<Field, FieldType>>,
): RecordLayout<Field> {
  const at = {} as Record<Field, number>;
  let offset = 0;
  for (const field of Object.keys(fields) as Field[]) {
    at[field] = offset;
    offset += FIELD_BYTES[fields[field]];
  }
  if (offset !== size) {
    throw new RangeError(`record ${name}: fields take ${offset} bytes, declared are ${size}`);
  }
  return { name, size, at };
}

/**
 * Declares a table record of 32-bit words; the number beside each field is how many words it
 * takes. Throws when they do not add up to `size` words. `at` counts words.
 */
export function words<Field extends string>(
  name: string,
  size: number,
  fields: Readonly<Record<Field, number>>,
): RecordLayout<Field> {
  const at = {} as Record<Field, number>;
  let offset = 0;
  for (const field of Object.keys(fields) as Field[]) {
    at[field] = offset;
    offset += fields[field];
  }
  if (offset !== size) {
    throw new RangeError(`record ${name}: fields take ${offset} words, declared are ${size}`);
  }
  return { name, size, at };
}
