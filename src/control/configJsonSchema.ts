/**
 * Writes config/schema.json, the JSON Schema by which editors check and complete a config file:
 *   node dist/control/configJsonSchema.js
 */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { configJsonSchema } from './configSchema';

export const SCHEMA_FILE = join(resolve(__dirname, '..', '..'), 'config', 'schema.json');

export function configJsonSchemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
}

if (require.main === module) writeFileSync(SCHEMA_FILE, configJsonSchemaText());
