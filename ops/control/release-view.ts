import type { CallTarget } from './call-record.ts';
import type { OwedHost } from './owed-host.ts';
import { standingOf } from './repair-orders.ts';
import type { HostStanding } from './repair-orders.ts';
import type { ReleaseRecord } from './release-record.ts';
import { failuresOf } from './release-state.ts';
import type { HostProgress, ReleaseState } from './release-state.ts';

/** A release in short, as the API shows it. */
export interface ReleaseSummary
  extends
    Omit<ReleaseRecord, 'batches' | 'key' | 'url'>,
    Pick<ReleaseState, 'phase' | 'step' | 'wish' | 'pausedFor' | 'rolledBackFor' | 'at'> {
  /** Of the step, from 0. */
  readonly batch: number;
  readonly batches: number;
  readonly hosts: number;
  readonly failures: number;
  /** How many hosts are in which stage; those that have not answered yet are in none. */
  readonly stages: Readonly<Record<string, number>>;
}

/** A release with all its hosts, in their batches. */
export interface ReleaseDetail extends Omit<ReleaseSummary, 'batches'> {
  readonly batches: readonly (readonly ReleaseHost[])[];
  /** Connected hosts that it would have gone to, had they been there when it began; nothing is done with them. */
  readonly late?: readonly LateHost[];
}

/** A host that has no part in it; `owed`: somebody let it have one after all. */
export type LateHost = CallTarget & { readonly owed?: OwedView };

/** One host of a release. */
export type ReleaseHost = CallTarget &
  Partial<HostProgress> & {
    /** Since the release has ended, where the host is not as it was decided, or was not. */
    readonly owed?: OwedView;
  };

/** What is owed to a host, and how that goes on. */
export interface OwedView extends Pick<OwedHost, 'should' | 'has' | 'why' | 'stage' | 'tries'> {
  readonly state: HostStanding;
  /** Why nothing is done for now. */
  readonly heldFor?: string;
}

export function summaryOf(record: ReleaseRecord, state: ReleaseState): ReleaseSummary {
  const { batches, key: _key, url: _url, ...about } = record;
  const { phase, step, batch, wish, pausedFor, rolledBackFor, at } = state;
  const stages: Record<string, number> = {};
  for (const { stage } of Object.values(state.hosts)) stages[stage] = (stages[stage] ?? 0) + 1;
  return {
    ...about,
    phase,
    step,
    batch,
    batches: batches.length,
    hosts: batches.flat().length,
    failures: failuresOf(state),
    stages,
    at,
    ...(wish === undefined ? {} : { wish }),
    ...(pausedFor === undefined ? {} : { pausedFor }),
    ...(rolledBackFor === undefined ? {} : { rolledBackFor }),
  };
}

/** `owed`: what is owed to one of its hosts, if anything is or was. */
export function detailOf(
  record: ReleaseRecord,
  state: ReleaseState,
  owedTo: (peer: string) => OwedView | undefined,
): ReleaseDetail {
  const batches = record.batches.map((batch) =>
    batch.map((host): ReleaseHost => {
      const owed = owedTo(host.peer);
      return { ...host, ...state.hosts[host.peer], ...(owed === undefined ? {} : { owed }) };
    }),
  );
  return { ...summaryOf(record, state), batches };
}

export function owedView(row: OwedHost, heldFor: string | undefined): OwedView {
  const { should, has, why, stage, tries } = row;
  return {
    state: standingOf(row),
    should,
    ...(has === undefined ? {} : { has }),
    stage,
    tries,
    why,
    ...(heldFor === undefined || stage !== 'waiting' ? {} : { heldFor }),
  };
}
