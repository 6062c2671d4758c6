import { hash } from 'node:crypto';
import type { TaskSpec } from '../../core/wire/messages.ts';

/**
 * Who asks, as far as the origin can tell: the URL as it was given and the headers. Askers that differ in a user, a
 * signature or a token are different ones, although they ask for the same task. Hashed, never kept.
 */
export function fingerprintOf(spec: TaskSpec): string {
  const headers = Object.entries(spec.headers ?? {}).map(
    ([name, value]) => [name.toLowerCase(), value] as const,
  );
  const sorted = headers.toSorted(([a], [b]) => (a < b ? -1 : Number(a > b)));
  return hash('sha256', JSON.stringify([spec.url, sorted]));
}
