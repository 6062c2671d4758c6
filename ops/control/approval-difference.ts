import { printable } from '../../core/base/printable.ts';
import type { Asked } from './approval-record.ts';
import { canonical } from './audit-record.ts';
import type { CallTarget } from './call-record.ts';

/** Hosts that are named, of more there is the number. */
const NAMED = 5;

/** In words, how a request is another than the one that was agreed to. */
export function differenceOf(agreed: Asked, asked: Asked): string {
  if (agreed.verb !== asked.verb) return `it is for ${agreed.verb}, not ${asked.verb}`;
  if (agreed.key !== asked.key) return 'it was asked for with another key';
  const words = [
    ...hostsIn(agreed.hosts ?? [], asked.hosts ?? []),
    ...fieldsIn(agreed, asked),
    ...(isSame(agreed.plan, asked.plan) ? [] : ['what it replaces has changed meanwhile']),
  ];
  return words.length === 0 ? 'something else is asked' : words.join('; ');
}

function hostsIn(agreed: readonly CallTarget[], asked: readonly CallTarget[]): string[] {
  const [before, now] = [agreed, asked].map((hosts) => new Set(hosts.map(({ peer }) => peer)));
  const joined = asked.filter(({ peer }) => before?.has(peer) === false);
  const left = agreed.filter(({ peer }) => now?.has(peer) === false);
  return [
    ...(joined.length === 0 ? [] : [`${namesOf(joined)} came to its hosts since`]),
    ...(left.length === 0 ? [] : [`${namesOf(left)} is not among its hosts any more`]),
  ];
}

function namesOf(hosts: readonly CallTarget[]): string {
  const names = hosts.slice(0, NAMED).map(({ peer, hostname }) => printable(hostname ?? peer));
  const more = hosts.length - names.length;
  return `${names.join(', ')}${more === 0 ? '' : ` and ${more} more`}`;
}

function fieldsIn(agreed: Asked, asked: Asked): string[] {
  const [before, now] = [fieldsOf(agreed.input), fieldsOf(asked.input)];
  const others = [...new Set([...Object.keys(before), ...Object.keys(now)])].filter(
    (name) => !isSame(before[name], now[name]),
  );
  if (others.length > 0) return [`it differs in ${others.join(', ')}`];
  const isCommandSame = isSame(commandOf(agreed), commandOf(asked));
  return isCommandSame ? [] : ['another command was agreed to'];
}

function commandOf({ command, args }: Asked): Pick<Asked, 'command' | 'args'> {
  return { ...(command === undefined ? {} : { command }), ...(args === undefined ? {} : { args }) };
}

function fieldsOf(input: unknown): Readonly<Record<string, unknown>> {
  return typeof input === 'object' && input !== null ? { ...input } : { input };
}

function isSame(one: unknown, other: unknown): boolean {
  return canonical([one ?? null]) === canonical([other ?? null]);
}
