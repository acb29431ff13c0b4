/**
 * Where in a file a service or a real server was written, kept beside the specs themselves: specs
 * are compared and sent, places are only for messages.
 */
import type { ServerSpec, ServiceSpec } from './model';

export interface Place {
  readonly file: string;
  /** From 1; 0: unknown. */
  readonly line: number;
}

const places = new WeakMap<ServiceSpec | ServerSpec, Place>();

export function notePlace(spec: ServiceSpec | ServerSpec, place: Place): void {
  places.set(spec, place);
}

/** undefined for a spec that came from no file. */
export function placeOf(spec: ServiceSpec | ServerSpec): Place | undefined {
  return places.get(spec);
}
