/**
 * Metrics of the daemon's process and of its main thread, as the library has them, and what is
 * running. Processor time and memory are the whole process's, workers included.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { collectDefaultMetrics, type Registry } from 'prom-client';
import { register } from './metricsRegister';

/**
 * Of the library's: those whose names promise a counter and are none, and what tells an operator
 * nothing of a director.
 */
const LEFT_OUT = [
  'nodejs_active_handles',
  'nodejs_active_handles_total',
  'nodejs_active_requests',
  'nodejs_active_requests_total',
  'nodejs_active_resources',
  'nodejs_active_resources_total',
  'nodejs_heap_space_size_total_bytes',
  'nodejs_heap_space_size_used_bytes',
  'nodejs_heap_space_size_available_bytes',
  'nodejs_version_info',
];
/**
 * Between two looks at the event loop's lag. Each wakes the main thread, which may share the CPU of
 * a worker that spins.
 */
const LAG_PRECISION_MS = 200;

export function packageVersion(): string {
  const text = readFileSync(join(__dirname, '..', '..', 'package.json'), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

export function registerProcess(registry: Registry): void {
  const version = packageVersion();
  register(registry, 'gauge', 'xvs_build_info', 'What is running', ['version', 'node'], () => [
    [{ version, node: process.versions.node }, 1],
  ]);
  collectDefaultMetrics({
    register: registry,
    eventLoopMonitoringPrecision: LAG_PRECISION_MS,
  });
  for (const name of LEFT_OUT) registry.removeSingleMetric(name);
}
