import { CodedError } from '../../core/base/error.ts';
import type { Door } from './door.ts';
import { labelLimits } from './host-labels.ts';
import type { KnownHost } from './host-record.ts';
import { selectHosts } from './host-selector.ts';
import type { HostTable } from './host-table.ts';
import type { Caller } from './principal.ts';
import type { VerbInput } from './verbs.ts';

/** What changes of hosts go through. */
export interface HostParts {
  readonly door: Door;
  readonly hosts: HostTable;
}

/** How many hosts were meant, and of how many the labels are others now. */
export interface Labelled {
  readonly hosts: number;
  readonly changed: number;
}

const MAX_SHOWN = 200;

/** The known hosts that a selector means, retired ones or the others. */
export function selectKnown(
  table: HostTable,
  { on, isRetired = false }: { readonly on: string; readonly isRetired?: boolean },
): KnownHost[] {
  return selectHosts(on, {
    hosts: new Map(table.all().map((host) => [host.peer, host])),
    inventory: table,
    isOffered: ({ peer }) => table.isRetired(peer) === isRetired,
    none: `no ${isRetired ? 'retired' : 'known'} host`,
  });
}

/** Sets and removes labels, of all hosts that are meant or of none. ERR_REQUEST, and what the door refuses. */
export async function labelHosts(
  { door, hosts }: HostParts,
  { input, caller }: { readonly input: VerbInput<'host.label'>; readonly caller: Caller },
): Promise<Labelled> {
  const { on, set = {}, remove = [] } = input;
  const asked = { verb: 'host.label', caller, input } as const;
  const id = on.slice(0, MAX_SHOWN);
  const meant = await door.lookUp({ ...asked, object: { id } }, () => selectKnown(hosts, { on }));
  if (meant.length > labelLimits.hosts) {
    throw wrong('on', `means ${meant.length} hosts, and ${labelLimits.hosts} are labelled at most`);
  }
  if (Object.keys(set).length + remove.length === 0) throw wrong('set', 'name a label');
  const both = remove.findIndex((key) => Object.hasOwn(set, key));
  if (both >= 0) throw wrong(`remove/${both}`, 'is set as well');
  return door.perform({ ...asked, object: { id, hosts: meant } }, async () =>
    hosts.label(
      meant.map(({ peer }) => peer),
      { set, remove },
    ),
  );
}

/**
 * Puts a host out of the cell for good. ERR_REQUEST for a name that several have, ERR_NOT_FOUND, what the door refuses,
 * and ERR_BUSY when the cell map has no room for one more: then it is not retired.
 */
export async function retireHost(
  { door, hosts }: HostParts,
  { input, caller }: { readonly input: VerbInput<'host.retire'>; readonly caller: Caller },
): Promise<KnownHost> {
  const asked = { verb: 'host.retire', caller, input } as const;
  const { host } = input;
  const meant = await door.lookUp({ ...asked, object: { id: host } }, () => oneOf(hosts, host));
  const { peer } = meant;
  const retired = await door.perform({ ...asked, object: { id: peer, hosts: [meant] } }, async () =>
    hosts.retire(peer, caller.principal.name),
  );
  await hosts.putOut(peer);
  return retired;
}

function oneOf(hosts: HostTable, name: string): KnownHost {
  const [host, ...others] = hosts.named(name);
  if (host === undefined) throw new CodedError('ERR_NOT_FOUND', 'there is no such host');
  if (others.length === 0) return host;
  throw wrong('host', `${others.length + 1} hosts have this name: give the peer id of one`);
}

function wrong(path: string, text: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: ${text}`, { detail: { path } });
}
