// Somebody lets hosts of a release that has ended come to what it decided for them: those that are owed it, or those
// that he names. He sees first what would happen, and quotes it.
import { createHash } from 'node:crypto';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { canonical } from './audit-record.ts';
import type { CallDesk } from './call-desk.ts';
import type { CallTarget } from './call-record.ts';
import type { Door } from './door.ts';
import { decidedFor, owedAgain } from './owed-host.ts';
import type { OwedHost } from './owed-host.ts';
import type { OwedTable } from './owed-table.ts';
import type { Caller } from './principal.ts';
import type { ReleaseRecord, RepairRequest, RepairStart } from './release-record.ts';
import { isEnded } from './release-state.ts';
import type { ReleaseState } from './release-state.ts';
import type { ReleaseStore } from './release-store.ts';
import type { Repairs } from './repairs.ts';

/** One host of it, what it would come to, and how it stands now. */
export type HostToRepair = CallTarget &
  Pick<OwedHost, 'should' | 'has'> & {
    /** `late`: it has no part in the release, and would get what that was for. `settled`: it said that it has it. */
    readonly state: HostStanding | 'late' | 'settled';
    readonly why?: string;
  };

/** `lost`: it did not say what runs there. `drifted`: it said that it is another, or not well. `mended`: it was. */
export type HostStanding = 'lost' | 'drifted' | 'mended';

/** What would be done, and nothing else. */
export interface RepairPlan {
  readonly release: string;
  readonly application: string;
  readonly hosts: readonly HostToRepair[];
  /** `sha256:HEX` of all of it. */
  readonly plan: string;
}

export interface RepairOrdersParts {
  readonly door: Pick<Door, 'perform' | 'lookUp'>;
  readonly desk: CallDesk;
  readonly owed: OwedTable;
  readonly repairs: Repairs;
  readonly store: ReleaseStore;
  readonly clock: Clock;
}

/** How a host stands that is owed something. */
export function standingOf({ stage, has }: Pick<OwedHost, 'stage' | 'has'>): HostStanding {
  if (stage === 'mended') return 'mended';
  return has === undefined ? 'lost' : 'drifted';
}

export class RepairOrders {
  readonly #parts: RepairOrdersParts;

  constructor(parts: RepairOrdersParts) {
    this.#parts = parts;
  }

  /**
   * What would be done. ERR_NOT_FOUND for a release or hosts that there are not, or when there is nothing to do;
   * ERR_CONFLICT when the release has not ended, was closed, or another one has its hosts; ERR_REQUEST, ERR_DENIED.
   */
  async preview({ id, on }: RepairRequest, caller: Caller): Promise<RepairPlan> {
    const { door, desk, store } = this.#parts;
    const object = { id, command: 'package.switch' };
    const input = on === undefined ? { id } : { id, on };
    const named = await door.lookUp({ verb: 'release.repairs', caller, input, object }, () =>
      on === undefined ? undefined : desk.targets(on),
    );
    const record = await store.find(id);
    if (record === undefined) {
      throw new CodedError('ERR_NOT_FOUND', 'there is no release of this id, or not any more');
    }
    const { state } = await store.state(id);
    if (!isEnded(state)) throw conflict('the release has not ended: it looks after its hosts');
    if (state.phase === 'closed') throw conflict('the release was closed: it decided nothing');
    const hosts =
      named === undefined ? this.#owed(record) : await this.#among(named, record, state);
    const { application } = record;
    return { release: id, application, hosts, plan: digestOf(record, hosts) };
  }

  /** Lets it be done, if it is what the caller has seen. As `preview()` throws, and what the door refuses. */
  async start({ plan: seen, ...request }: RepairStart, caller: Caller): Promise<RepairPlan> {
    const { repairs } = this.#parts;
    const done = await repairs.alone(async () => {
      const plan = await this.preview(request, caller);
      if (plan.plan === seen) return this.#perform({ ...request, plan: seen }, plan, caller);
      const message = 'plan: hosts are not what they were: look at it again';
      throw new CodedError('ERR_CONFLICT', message, { detail: { path: 'plan' } });
    });
    repairs.look();
    return done;
  }

  async #perform(input: RepairStart, plan: RepairPlan, caller: Caller): Promise<RepairPlan> {
    const { door, owed, clock } = this.#parts;
    const { release, application, hosts } = plan;
    const { name: principal, key } = caller.principal;
    const by = key === undefined ? { principal } : { principal, key };
    const object = { id: release, command: 'package.switch', hosts };
    return door.perform({ verb: 'release.repair', caller, input, object }, async () => {
      const at = Math.round(clock.now());
      const rows = hosts.map(({ peer, hostname, idc, should }) => {
        const host = { peer, ...(hostname && { hostname }), ...(idc && { idc }) };
        const former = owed.find({ application, peer });
        return owedAgain(former, { ...host, application, release, should, by, at });
      });
      return {
        changes: rows.map((row) => owed.put(row)),
        detail: { application, hosts: hosts.length, plan: plan.plan },
        answer: () => {
          for (const row of rows) owed.keep(row);
          return plan;
        },
      };
    });
  }

  #owed(record: ReleaseRecord): HostToRepair[] {
    const { owed } = this.#parts;
    const hosts = owed.of(record.id).filter(({ stage }) => stage !== 'mended');
    if (hosts.length === 0) {
      throw new CodedError('ERR_NOT_FOUND', 'every host has come to what the release decided');
    }
    return hosts.map((host) => shown(host)).toSorted((a, b) => (a.peer < b.peer ? -1 : 1));
  }

  async #among(
    named: readonly CallTarget[],
    record: ReleaseRecord,
    state: ReleaseState,
  ): Promise<HostToRepair[]> {
    const { owed, store } = this.#parts;
    const newest = await store.newestOf(record.application);
    const part = new Set(record.batches.flat().map(({ peer }) => peer));
    const hosts = named.flatMap((host): HostToRepair[] => {
      const row = owed.find({ application: record.application, peer: host.peer });
      if (row?.release === record.id) return [shown(row)];
      // Whatever is older than another release of the application may not be what this host is to have.
      if (newest !== record.id) return [];
      const should = decidedFor(record, state, host.peer);
      if (should !== undefined) return [{ ...host, should, state: 'settled' }];
      const isLate = state.phase === 'done' && !part.has(host.peer);
      return isLate ? [{ ...host, should: record.version, state: 'late' }] : [];
    });
    if (hosts.length > 0) return hosts;
    throw new CodedError(
      'ERR_NOT_FOUND',
      newest === record.id
        ? 'the release decided nothing for these hosts'
        : `release ${newest ?? ''} of ${record.application} is newer, and nothing is owed to these hosts`,
    );
  }
}

function shown(row: OwedHost): HostToRepair {
  const { peer, hostname, idc, should, has, why } = row;
  return {
    peer,
    ...(hostname === undefined ? {} : { hostname }),
    ...(idc === undefined ? {} : { idc }),
    should,
    ...(has === undefined ? {} : { has }),
    state: standingOf(row),
    why,
  };
}

function digestOf({ id }: ReleaseRecord, hosts: readonly HostToRepair[]): string {
  const what = hosts.map(({ peer, should }) => [peer, should]);
  const text = canonical({ v: 1, repair: id, hosts: what });
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

function conflict(message: string): CodedError {
  return new CodedError('ERR_CONFLICT', message);
}
