import { CodedError } from '../../core/base/error.ts';
import type { CallHost } from './call-host.ts';

/** The texts that `selectHosts` takes. */
export const SELECTORS = 'all, idc=NAME, host=NAME, or several of them with commas between';

const WORD = /^(?:all|(idc|host)=([^,=\s]{1,255}))$/;

/**
 * The hosts, by peer id, that any word of the text means, in the order of their ids: `host=` is a host name or a peer
 * id. ERR_REQUEST for a text that is no selector, ERR_NOT_FOUND for a word that means no host that takes calls.
 */
export function selectHosts(text: string, hosts: ReadonlyMap<string, CallHost>): CallHost[] {
  const chosen = new Map<string, CallHost>();
  for (const word of text.split(',')) {
    const parts = WORD.exec(word);
    if (parts === null) {
      throw new CodedError('ERR_REQUEST', `on: expected ${SELECTORS}`, { detail: { path: 'on' } });
    }
    const [, kind, value = ''] = parts;
    let isMeant = false;
    for (const host of meantBy({ kind, value }, hosts)) {
      if (!host.takesCalls) continue;
      isMeant = true;
      chosen.set(host.peer, host);
    }
    if (!isMeant) {
      throw new CodedError('ERR_NOT_FOUND', `on: no connected host takes calls for ${word}`, {
        detail: { path: 'on' },
      });
    }
  }
  return [...chosen.values()].toSorted((one, other) => (one.peer < other.peer ? -1 : 1));
}

/** One host by its id is found without looking at all others. */
function* meantBy(
  { kind, value }: { readonly kind: string | undefined; readonly value: string },
  hosts: ReadonlyMap<string, CallHost>,
): Generator<CallHost, void, undefined> {
  const byPeer = kind === 'host' ? hosts.get(value) : undefined;
  if (byPeer !== undefined) {
    yield byPeer;
    return;
  }
  for (const host of hosts.values()) {
    const { idc, hostname } = host;
    if (kind === undefined || (kind === 'idc' ? idc : hostname) === value) yield host;
  }
}
