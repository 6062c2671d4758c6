import { CodedError } from '../../core/base/error.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { Effect } from './door-effect.ts';
import { checkRule } from './policy-check.ts';
import { isNarrower } from './policy-narrowing.ts';
import { PolicyRule } from './policy-rule.ts';
import type { Policy } from './policy-rule.ts';

/** Policies of a cell: every request is held against those that name its principal. */
export const MAX_POLICIES = 1_000;
/** As JSON: a record of the audit holds the one before and the one after a change. */
const MAX_RULE_BYTES = 6_000;

const parseRule = parser(PolicyRule, { code: 'ERR_STORE_IO' });

/** The policies of the cell, all in memory. */
export class PolicyTable {
  readonly #store: StateStore;
  readonly #policies = new Map<string, Policy>();

  private constructor(store: StateStore) {
    this.#store = store;
  }

  static async open(store: StateStore): Promise<PolicyTable> {
    const table = new PolicyTable(store);
    for await (const { key, value } of store.range(keysWith('policy/'))) {
      const name = key.slice('policy/'.length);
      table.#policies.set(name, { ...parseRule(value), name });
    }
    return table;
  }

  /** By name. */
  list(): Policy[] {
    return [...this.#policies.values()].toSorted((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** Those that name a principal, or everybody. */
  *about(principal: string): Generator<Policy, void, undefined> {
    for (const policy of this.#policies.values()) {
      if (policy.principals.some((name) => name === principal || name === '*')) yield policy;
    }
  }

  /** Makes or replaces one. ERR_REQUEST for a rule that could never do what it seems to, ERR_BUSY past the bound. */
  async put(name: string, rule: PolicyRule): Promise<Effect<Policy>> {
    checkRule(rule);
    if (Buffer.byteLength(JSON.stringify(rule)) > MAX_RULE_BYTES) {
      throw wrong('policy', `is longer than ${MAX_RULE_BYTES} bytes; make several of it`);
    }
    const key = policyKey(name);
    const former = await this.#store.get(key);
    if (former === undefined && this.#policies.size >= MAX_POLICIES) {
      throw new CodedError('ERR_BUSY', `there are ${MAX_POLICIES} policies; remove some`);
    }
    const policy = { ...rule, name };
    const before = former === undefined ? undefined : parseRule(former.value);
    const narrower = isNarrower(before, rule);
    return {
      changes: [{ type: 'put', key, value: rule }],
      expect: [{ key, revision: former?.revision ?? 0 }],
      isNarrower: narrower,
      detail: {
        rule,
        ...(before === undefined ? {} : { former: before }),
        ...(narrower ? { narrower } : {}),
      },
      answer: () => {
        this.#policies.set(name, policy);
        return policy;
      },
    };
  }

  /** Removes one; ERR_NOT_FOUND. */
  async remove(name: string): Promise<Effect<void>> {
    const key = policyKey(name);
    const former = await this.#store.get(key);
    if (former === undefined) {
      throw new CodedError('ERR_NOT_FOUND', 'there is no policy of this name');
    }
    const before = parseRule(former.value);
    const narrower = isNarrower(before, undefined);
    return {
      changes: [{ type: 'del', key }],
      expect: [{ key, revision: former.revision }],
      isNarrower: narrower,
      detail: { former: before, ...(narrower ? { narrower } : {}) },
      answer: () => void this.#policies.delete(name),
    };
  }
}

const policyKey = (name: string): string => `policy/${name}`;

function wrong(path: string, text: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: ${text}`, { detail: { path } });
}
