import type { LiveValues } from '../../core/wire/messages.ts';
import type { KnownHost } from './host-record.ts';

/** What a value is: it decides what it is compared with, and how that is written. */
export type ValueKind = 'text' | 'count' | 'bytes' | 'seconds' | 'percent';

/** Everything that can be asked of a host, by name. `cell`: what the cell knows of it, `facts`: what it said when it connected, `live`: what it says when it is asked, `made`: made here of those. */
export const hostValues = {
  peer: { kind: 'text', of: 'cell' },
  hostname: { kind: 'text', of: 'cell' },
  idc: { kind: 'text', of: 'cell' },
  location: { kind: 'text', of: 'cell' },
  role: { kind: 'text', of: 'cell' },
  os: { kind: 'text', of: 'facts' },
  kernel: { kind: 'text', of: 'facts' },
  arch: { kind: 'text', of: 'facts' },
  node: { kind: 'text', of: 'facts' },
  odonata: { kind: 'text', of: 'facts' },
  bootId: { kind: 'text', of: 'facts' },
  cpus: { kind: 'count', of: 'facts' },
  memoryBytes: { kind: 'bytes', of: 'facts' },
  load1: { kind: 'count', of: 'live' },
  load5: { kind: 'count', of: 'live' },
  load15: { kind: 'count', of: 'live' },
  memoryAvailableBytes: { kind: 'bytes', of: 'live' },
  rootFreeBytes: { kind: 'bytes', of: 'live' },
  rootTotalBytes: { kind: 'bytes', of: 'live' },
  storeFreeBytes: { kind: 'bytes', of: 'live' },
  storeTotalBytes: { kind: 'bytes', of: 'live' },
  storedBytes: { kind: 'bytes', of: 'live' },
  uptimeSeconds: { kind: 'seconds', of: 'live' },
  odonataUptimeSeconds: { kind: 'seconds', of: 'live' },
  calls: { kind: 'count', of: 'live' },
  downloads: { kind: 'count', of: 'live' },
  tasks: { kind: 'count', of: 'live' },
  memoryUsedPercent: { kind: 'percent', of: 'made' },
  rootUsedPercent: { kind: 'percent', of: 'made' },
  storeUsedPercent: { kind: 'percent', of: 'made' },
} as const satisfies Readonly<
  Record<string, { readonly kind: ValueKind; readonly of: 'cell' | 'facts' | 'live' | 'made' }>
>;

export type ValueName = keyof typeof hostValues;
export const valueNames: readonly ValueName[] = Object.keys(hostValues).filter(isValueName);

/** Values of one host; what is not there is not known. */
export type HostValues = Readonly<Partial<Record<ValueName, string | number>>>;

export function isValueName(name: string): name is ValueName {
  return Object.hasOwn(hostValues, name);
}

/** What is known of a host that has just answered. Names that there are not, and what is of another kind, count as not told. */
export function valuesOf(host: KnownHost, live: LiveValues): HostValues {
  const { facts } = host;
  const known: Partial<Record<ValueName, string | number>> = {};
  const put = (name: ValueName, value: unknown): void => {
    const { kind } = hostValues[name];
    if (kind === 'text' ? typeof value !== 'string' : typeof value !== 'number') return;
    if (typeof value === 'string' || typeof value === 'number') known[name] = value;
  };
  for (const name of valueNames) {
    const { of } = hostValues[name];
    if (of === 'facts') put(name, own(facts, name));
    if (of === 'live') put(name, own(live, name));
  }
  for (const name of ['peer', 'hostname', 'idc', 'location', 'role'] as const)
    put(name, host[name]);
  put('memoryUsedPercent', usedPercent(known.memoryBytes, known.memoryAvailableBytes));
  put('rootUsedPercent', usedPercent(known.rootTotalBytes, known.rootFreeBytes));
  put('storeUsedPercent', usedPercent(known.storeTotalBytes, known.storeFreeBytes));
  return known;
}

/** To a tenth; undefined for what cannot be. */
function usedPercent(
  total: string | number | undefined,
  free: string | number | undefined,
): number | undefined {
  if (typeof total !== 'number' || typeof free !== 'number' || free > total) return undefined;
  return total === 0 ? undefined : Math.round(1_000 * (1 - free / total)) / 10;
}

/** Only what was told: every object has a `constructor`. */
function own(record: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
