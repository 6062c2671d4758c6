import { CodedError } from '../../core/base/error.ts';
import type { HostFacts } from '../../core/wire/messages.ts';
import type { Labels } from './host-labels.ts';

/** The texts that `selectHosts` takes. */
export const SELECTORS =
  'all, idc=NAME, host=NAME, label=KEY:VALUE, fact=KEY:VALUE, several of them with commas between, and -WORD for those to leave out';

const WORD =
  /^(?:all|(-?)(?:(idc|host)=([^,=\s]{1,255})|(label|fact)=([^,:=\s]{1,63}):([^,=\s]{1,255})))$/;
const MAX_SHOWN = 100;

/** A host as selectors look at it. */
export interface SelectableHost {
  readonly peer: string;
  readonly hostname?: string | undefined;
  readonly idc?: string | undefined;
}

/** What is known of hosts besides, whether they are here or not. */
export interface HostInventory {
  traitsOf(peer: string): { readonly labels: Labels; readonly facts: HostFacts } | undefined;
  /** Every host that is known. */
  all(): Iterable<SelectableHost>;
}

/** From whom is chosen. */
export interface Selection<Host extends SelectableHost> {
  /** By peer id. */
  readonly hosts: ReadonlyMap<string, Host>;
  readonly inventory: HostInventory;
  /** False: it is there, and never chosen. */
  readonly isOffered: (host: Host) => boolean;
  /** For an error: what none of the hosts is, as "no connected host takes calls". */
  readonly none: string;
}

interface Word {
  readonly text: string;
  readonly isTakenAway: boolean;
  readonly kind: string;
  readonly key: string;
  readonly value: string;
}

/**
 * The hosts that any word of the text means, without those that a word with a dash means, in the order of their peer
 * ids: `host=` is a host name or a peer id. ERR_REQUEST for what is no selector. ERR_NOT_FOUND for a word that means no
 * host that is offered, or that would take away what nobody knows: a slip there must not put hosts in danger.
 */
export function selectHosts<Host extends SelectableHost>(
  text: string,
  { hosts, inventory, isOffered, none }: Selection<Host>,
): Host[] {
  const words = text.split(',').map((word) => parseWord(word));
  if (words.every(({ isTakenAway }) => isTakenAway)) {
    throw wrong(
      `${shown(text)} takes hosts away from none: begin with those that are meant, as all`,
    );
  }
  const chosen = new Map<string, Host>();
  for (const word of words.filter(({ isTakenAway }) => !isTakenAway)) {
    let isMeant = false;
    for (const host of meantBy(word, { hosts, inventory })) {
      if (!isOffered(host)) continue;
      isMeant = true;
      chosen.set(host.peer, host);
    }
    if (!isMeant) throw missing(`${none} for ${word.text}`);
  }
  for (const word of words.filter(({ isTakenAway }) => isTakenAway)) {
    let isMeant = false;
    for (const { peer } of meantBy(word, { hosts, inventory })) {
      isMeant = true;
      chosen.delete(peer);
    }
    if (!isMeant && !isKnown(word, inventory)) {
      throw missing(`no host that was ever here is meant by ${word.text}`);
    }
  }
  if (chosen.size === 0) throw missing('no host is left');
  return [...chosen.values()].toSorted((one, other) => (one.peer < other.peer ? -1 : 1));
}

function parseWord(text: string): Word {
  const parts = WORD.exec(text);
  if (parts === null) throw wrong(`${shown(text)} is no selector: expected ${SELECTORS}`);
  const [, dash = '', simple, name = '', kind = simple ?? 'all', key = '', value = name] = parts;
  return { text, isTakenAway: dash === '-', kind, key, value };
}

/** One host by its id is found without looking at all others. */
function* meantBy<Host extends SelectableHost>(
  word: Word,
  { hosts, inventory }: Pick<Selection<Host>, 'hosts' | 'inventory'>,
): Generator<Host, void, undefined> {
  const byPeer = word.kind === 'host' ? hosts.get(word.value) : undefined;
  if (byPeer !== undefined) {
    yield byPeer;
    return;
  }
  for (const host of hosts.values()) if (fits(host, word, inventory)) yield host;
}

function isKnown(word: Word, inventory: HostInventory): boolean {
  for (const host of inventory.all()) {
    if (fits(host, word, inventory) || (word.kind === 'host' && host.peer === word.value)) {
      return true;
    }
  }
  return false;
}

function fits(
  { peer, hostname, idc }: SelectableHost,
  { kind, key, value }: Word,
  inventory: HostInventory,
): boolean {
  if (kind === 'all') return true;
  if (kind === 'idc') return idc === value;
  if (kind === 'host') return hostname === value;
  const known = inventory.traitsOf(peer);
  const values = kind === 'label' ? known?.labels : known?.facts;
  if (values === undefined || !Object.hasOwn(values, key)) return false;
  return String(values[key]) === value;
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, MAX_SHOWN));
}

function wrong(text: string): CodedError {
  return new CodedError('ERR_REQUEST', `on: ${text}`, { detail: { path: 'on' } });
}

function missing(text: string): CodedError {
  return new CodedError('ERR_NOT_FOUND', `on: ${text}`, { detail: { path: 'on' } });
}
