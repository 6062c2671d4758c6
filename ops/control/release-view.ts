import type { CallTarget } from './call-record.ts';
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
  readonly batches: readonly (readonly (CallTarget & Partial<HostProgress>)[])[];
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

export function detailOf(record: ReleaseRecord, state: ReleaseState): ReleaseDetail {
  const batches = record.batches.map((batch) =>
    batch.map((host) => ({ ...host, ...state.hosts[host.peer] })),
  );
  return { ...summaryOf(record, state), batches };
}
