import { CodedError } from '../../core/base/error.ts';
import type { CallHost } from './call-host.ts';

/** The texts that `selectHosts` takes. */
export const SELECTORS = 'all, idc=NAME, host=NAME, or several of them with commas between';

const WORD = /^(?:all|(idc|host)=([^,=\s]{1,255}))$/;

/**
 * The hosts that any word of the text means, by peer id: `host=` is a host name or a peer id, which must be connected.
 * ERR_REQUEST for a text that is no selector, ERR_NOT_FOUND for a host or an idc that is not there.
 */
export function selectHosts(text: string, hosts: Iterable<CallHost>): CallHost[] {
  const known = [...hosts].filter(({ takesCalls }) => takesCalls);
  const chosen = new Map<string, CallHost>();
  for (const word of text.split(',')) {
    const parts = WORD.exec(word);
    if (parts === null) {
      throw new CodedError('ERR_REQUEST', `on: expected ${SELECTORS}`, { detail: { path: 'on' } });
    }
    const [, kind, value] = parts;
    const meant = known.filter((host) => kind === undefined || isMeant(host, kind, value ?? ''));
    if (meant.length === 0) {
      throw new CodedError('ERR_NOT_FOUND', `on: no connected host takes calls for ${word}`, {
        detail: { path: 'on' },
      });
    }
    for (const host of meant) chosen.set(host.peer, host);
  }
  return [...chosen.values()].toSorted((one, other) => (one.peer < other.peer ? -1 : 1));
}

function isMeant({ peer, hostname, idc }: CallHost, kind: string, value: string): boolean {
  return kind === 'idc' ? idc === value : peer === value || hostname === value;
}
