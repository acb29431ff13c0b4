/**
 * Would the director of this version take these services? Its own checks, with file and line: what
 * a file's schema allows may be more than this version does.
 */
import { checkServer, checkServerAddress, checkServerCount, checkService } from './check';
import { ConfigError } from './configError';
import { DirectorError } from './error';
import type { ServerSpec, ServiceSpec } from './model';
import { placeOf } from './place';

interface Refusal {
  readonly spec: ServiceSpec | ServerSpec;
  readonly message: string;
}

function refusalOf(spec: ServiceSpec | ServerSpec, check: () => void): readonly Refusal[] {
  try {
    check();
    return [];
  } catch (error) {
    if (!(error instanceof DirectorError)) throw error;
    return [{ spec, message: error.message }];
  }
}

/** Throws a ConfigError that names every service and server the director would refuse. */
export function checkSpecs(path: string, specs: readonly ServiceSpec[]): void {
  const refusals = specs.flatMap((spec) => [
    ...refusalOf(spec, () => {
      checkService(spec.service, spec.settings);
      checkServerCount(spec.service, spec.settings.scheduler, spec.servers.length);
    }),
    ...spec.servers.flatMap((server) =>
      refusalOf(server, () => {
        checkServer(spec.service, server.server, server.settings);
        checkServerAddress(spec.service, server.server);
      }),
    ),
  ]);
  if (refusals.length === 0) return;
  const problems = refusals.map(({ spec, message }) => {
    const place = placeOf(spec);
    // What stands in another file than the one asked for is named with its own path.
    if (place !== undefined && place.file !== path) {
      return { key: '', line: 0, message: `${place.file}:${place.line}: ${message}` };
    }
    return { key: '', line: place?.line ?? 0, message };
  });
  throw new ConfigError(path, problems);
}
