// What a release does next, as a function of where it stands and of what has happened: no clock, no disk, no hosts.
// Batch by batch: install on its hosts, switch on those that have it, then the next batch. When more hosts failed than
// may, or somebody asks for it, it goes back: batch by batch from the last one on, so that never more hosts of a service
// restart at a time than on the way there.
import { CodedError } from '../../core/base/error.ts';
import type { HostResult } from './call-record.ts';
import { switchArguments } from './release-call.ts';
import type { ReleaseCommand } from './release-call.ts';
import { progressAfter } from './release-progress.ts';
import type { ReleaseRecord, ReleaseWish } from './release-record.ts';
import { failuresOf, isEnded } from './release-state.ts';
import type { Asker, HostProgress, ReleaseState } from './release-state.ts';

/** What has happened. */
export type ReleaseEvent =
  /** Nothing was done yet, and now it begins. */
  | { readonly type: 'begin' }
  /** All calls of the step have ended; a host that is not in `results` said nothing. */
  | { readonly type: 'ended'; readonly results: ReadonlyMap<string, HostResult> }
  /** It is paused, and somebody wishes something. */
  | { readonly type: 'wished' }
  /** The calls of the step that it had come to could not be made. */
  | { readonly type: 'hindered'; readonly why: string };

/** One call that a step is made of. */
export interface StepCall {
  /** No second call is made with it. */
  readonly word: string;
  readonly command: ReleaseCommand;
  readonly args: readonly string[];
  readonly peers: readonly string[];
}

/** Where it stands then, and the calls to be made; with none there is nothing to do but what the phase says. */
export interface ReleaseMove {
  readonly state: ReleaseState;
  readonly calls: readonly StepCall[];
}

/** Where the way leads: a step with something to do in it, or the end. */
type Prospect =
  | { readonly end: 'done' | 'rolled-back' | 'rollback-failed' }
  | (Pick<ReleaseState, 'step' | 'batch'> & { readonly pause?: string });

/** Calls of one step: one for each version that hosts of a batch go back to. */
const CALLS_TOGETHER = 20;
const ASKED = 'somebody asked for it';

/** The next move of a release that has not ended. */
export function advance(
  release: ReleaseRecord,
  state: ReleaseState,
  event: ReleaseEvent,
): ReleaseMove {
  switch (event.type) {
    case 'begin':
      return heed(release, state);
    case 'ended': {
      const { results } = event;
      const asked = callsOf(release, state).flatMap(({ peers }) => peers);
      const hosts = progressAfter(release, state, { asked, results });
      return heed(release, { ...state, hosts });
    }
    case 'wished':
      return fulfil(release, state);
    case 'hindered': {
      const attempt = state.attempt + 1;
      return rest({ ...state, attempt, phase: 'paused', pausedFor: event.why });
    }
  }
}

/**
 * The state with what somebody wishes; the last wish counts. ERR_CONFLICT when it has ended, when it should go on and is
 * not paused, or when it should go on and the key that it was started with is locked.
 */
export function wished(
  state: ReleaseState,
  wish: ReleaseWish,
  { by, isLocked }: { readonly by: Asker; readonly isLocked: boolean },
): ReleaseState {
  if (isEnded(state)) throw conflict(`the release has ended: ${state.phase}`);
  const { wish: former, ...plain } = state;
  const isBack = state.step === 'rollback' || wish === 'rollback';
  // Who takes over from a locked key may lead back, and not on.
  const mine = isLocked && isBack ? { ...plain, by } : plain;
  const isPaused = state.phase === 'paused';
  if (wish === 'continue' && !isPaused) {
    if (former === 'pause') return plain;
    throw conflict('the release is not paused');
  }
  if (wish === 'continue' && isLocked && !isBack) {
    throw conflict('the key that it was started with is locked: roll it back, or close it');
  }
  if (wish === 'pause' && isPaused) return state;
  if (wish === 'rollback' && state.step === 'rollback' && !isPaused) return mine;
  return { ...mine, wish };
}

/** A step is over, or none has begun: what somebody wishes comes first, then failures, then the plan. */
function heed(release: ReleaseRecord, { wish, ...state }: ReleaseState): ReleaseMove {
  if (wish === 'close') return rest({ ...state, phase: 'closed' });
  const isBack = state.step === 'rollback';
  const why = isBack ? undefined : wish === 'rollback' ? ASKED : tooMany(release, state);
  const to = isBack || why !== undefined ? backFrom(release, state) : onFrom(release, state);
  const next = why === undefined ? state : { ...state, rolledBackFor: why };
  if ('end' in to) return go(release, next, to);
  // Who asked for a pause did not ask to wait with too many failures.
  const pausedFor = wish === 'pause' && why === undefined ? ASKED : to.pause;
  if (pausedFor === undefined) return go(release, next, to);
  const { step, batch } = to;
  return rest({ ...next, step, batch, phase: 'paused', pausedFor });
}

/** What somebody wishes of a paused release. */
function fulfil(release: ReleaseRecord, state: ReleaseState): ReleaseMove {
  const { wish, ...plain } = state;
  if (wish === 'close') return rest({ ...plain, phase: 'closed' });
  if (wish === 'continue') return go(release, plain, plain);
  if (wish !== 'rollback') return rest(plain);
  const next = plain.step === 'rollback' ? plain : { ...plain, rolledBackFor: ASKED };
  return go(release, next, backFrom(release, plain));
}

function go(
  release: ReleaseRecord,
  { pausedFor: _pausedFor, ...state }: ReleaseState,
  to: Prospect,
): ReleaseMove {
  if ('end' in to) return rest({ ...state, phase: to.end });
  const { step, batch } = to;
  const next: ReleaseState = { ...state, step, batch, phase: 'running' };
  return { state: next, calls: callsOf(release, next) };
}

function rest(state: ReleaseState): ReleaseMove {
  return { state: { ...state, calls: [] }, calls: [] };
}

function tooMany({ maxFailures }: ReleaseRecord, state: ReleaseState): string | undefined {
  const failures = failuresOf(state);
  return failures > maxFailures ? `${failures} hosts failed, and ${maxFailures} may` : undefined;
}

function onFrom(release: ReleaseRecord, state: ReleaseState): Prospect {
  const { phase, step, batch } = state;
  if (phase === 'planned') return { step: 'install', batch: 0 };
  const switching = { ...state, step: 'switch' } as const;
  if (step === 'install' && callsOf(release, switching).length > 0)
    return { step: 'switch', batch };
  if (batch + 1 >= release.batches.length) return { end: 'done' };
  const next = { step: 'install', batch: batch + 1 } as const;
  const isStop = release.pause === 'every' || (release.pause === 'first' && batch === 0);
  return isStop ? { ...next, pause: `batch ${batch + 1} has ended` } : next;
}

/** Back begins where the way on has come to, and in a batch may take more than one step. */
function backFrom(release: ReleaseRecord, state: ReleaseState): Prospect {
  for (let { batch } = state; batch >= 0; batch -= 1) {
    const step = 'rollback';
    if (callsOf(release, { ...state, step, batch }).length > 0) return { step, batch };
  }
  const isLost = Object.values(state.hosts).some(({ stage }) => stage === 'lost');
  return { end: isLost ? 'rollback-failed' : 'rolled-back' };
}

function callsOf(release: ReleaseRecord, state: ReleaseState): StepCall[] {
  const { application, version, url, digest } = release;
  const { step, batch, attempt, hosts } = state;
  const peers = (release.batches[batch] ?? []).map(({ peer }) => peer);
  const at = `release/${release.id}/${batch}`;
  switch (step) {
    case 'install': {
      const args = [application, version, url, digest];
      return [{ word: `${at}/install/${attempt}`, command: 'package.install', args, peers }];
    }
    case 'switch': {
      const ready = peers.filter((peer) => hosts[peer]?.stage === 'installed');
      if (ready.length === 0) return [];
      const word = `${at}/switch/${attempt}`;
      return [
        { word, command: 'package.switch', args: switchArguments(release, version), peers: ready },
      ];
    }
    case 'rollback': {
      const touched = peers.filter((peer) => isTouched(hosts[peer]));
      const byFormer = Map.groupBy(touched, (peer) => hosts[peer]?.former ?? null);
      return [...byFormer].slice(0, CALLS_TOGETHER).map(([former, group]) => {
        const word = `${at}/rollback-${former ?? 'none'}/${attempt}`;
        const args = switchArguments(release, former);
        return { word, command: 'package.switch', args, peers: group };
      });
    }
  }
}

/** True when what runs there may not be what ran before. */
function isTouched(host: HostProgress | undefined): boolean {
  return host?.stage === 'switched' || host?.stage === 'broken';
}

function conflict(message: string): CodedError {
  return new CodedError('ERR_CONFLICT', message);
}
