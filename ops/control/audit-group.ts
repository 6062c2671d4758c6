import type { Expectation, StateChange, StateStore } from '../../core/store/state-store.ts';
import type { AuditEntry, AuditRecord } from './audit-record.ts';

/** One append that waits for its commit. */
export interface WaitingAppend {
  readonly entry: AuditEntry;
  readonly changes: readonly StateChange[];
  readonly expect: readonly Expectation[];
  readonly resolve: (record: AuditRecord) => void;
  readonly reject: (error: unknown) => void;
}

/** Appends that one commit can hold, and those that it cannot because what they expect is no more so. */
export interface SettledGroup {
  readonly accepted: readonly WaitingAppend[];
  readonly refused: readonly { readonly append: WaitingAppend; readonly key: string }[];
  /** What the commit as a whole has to expect of the store. */
  readonly expect: readonly Expectation[];
}

/** A revision that no row has: that of a row whose commit is still to come. */
const TO_COME = -1;

/** Decides in order, each append seeing the ones before it, whose expectations hold by the rows as they are now. */
export async function settleGroup(
  state: StateStore,
  group: readonly WaitingAppend[],
): Promise<SettledGroup> {
  const keys = [...new Set(group.flatMap(({ expect }) => expect.map(({ key }) => key)))];
  const kept = new Map<string, number>();
  for (const key of keys) kept.set(key, (await state.get(key))?.revision ?? 0);
  const changed = new Map<string, number>();
  const accepted: WaitingAppend[] = [];
  const refused: { append: WaitingAppend; key: string }[] = [];
  const expected = new Map<string, number>();
  for (const append of group) {
    const { expect, changes } = append;
    const stale = expect.find(
      ({ key, revision }) => (changed.get(key) ?? kept.get(key)) !== revision,
    );
    if (stale !== undefined) {
      refused.push({ append, key: stale.key });
      continue;
    }
    for (const { key, revision } of expect) {
      if (!changed.has(key)) expected.set(key, revision);
    }
    for (const { type, key } of changes) changed.set(key, type === 'put' ? TO_COME : 0);
    accepted.push(append);
  }
  const expect = [...expected].map(([key, revision]) => ({ key, revision }));
  return { accepted, refused, expect };
}
