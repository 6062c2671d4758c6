import { readFileSync } from 'node:fs';

/** The version of the package, read from its package.json beside `core/` (or beside `dist/`). */
export function programVersion(): string {
  for (const level of ['../../package.json', '../../../package.json']) {
    try {
      const found: unknown = JSON.parse(readFileSync(new URL(level, import.meta.url), 'utf8'));
      if (isOwnPackage(found)) return found.version;
    } catch {
      // Not at this level: source and build differ by one folder.
    }
  }
  return 'unknown';
}

function isOwnPackage(value: unknown): value is { name: 'odonata'; version: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'name' in value &&
    value.name === 'odonata' &&
    'version' in value &&
    typeof value.version === 'string'
  );
}
