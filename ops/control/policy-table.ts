import { CodedError } from '../../core/base/error.ts';
import { linearPattern } from '../../core/base/linear-pattern.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { Effect } from './door-effect.ts';
import { fits, PolicyRule } from './policy.ts';
import type { Policy } from './policy.ts';
import { operator } from './principal.ts';
import { verbs } from './verbs.ts';
import type { Verb } from './verbs.ts';

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
    return {
      changes: [{ type: 'put', key, value: rule }],
      expect: [{ key, revision: former?.revision ?? 0 }],
      detail: { policy: rule, ...(former === undefined ? {} : { former: former.value }) },
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
    return {
      changes: [{ type: 'del', key }],
      expect: [{ key, revision: former.revision }],
      detail: { former: former.value },
      answer: () => void this.#policies.delete(name),
    };
  }
}

const policyKey = (name: string): string => `policy/${name}`;

function checkRule({
  effect,
  principals,
  verbs: patterns,
  maxRisk,
  commands,
  hosts,
  lines = [],
}: PolicyRule): void {
  const permissions = Object.values<Verb>(verbs);
  for (const [at, pattern] of patterns.entries()) {
    if (!permissions.some(({ permission }) => fits(pattern, permission))) {
      throw wrong(`verbs/${at}`, `there is no verb ${pattern}`);
    }
  }
  if (effect === 'forbid' && maxRisk !== undefined) {
    throw wrong('maxRisk', 'is for an allow; a forbid is of any risk');
  }
  if (effect === 'allow' && lines.length > 0) {
    throw wrong('lines', 'is for a forbid; who may run a command may run it with any arguments');
  }
  for (const [at, pattern] of lines.entries()) checkPattern(`lines/${at}`, pattern);
  const own = principals.indexOf(operator.name);
  if (own >= 0) throw wrong(`principals/${own}`, 'no policy is about the operator');
  const named = permissions.filter(({ permission }) =>
    patterns.some((pattern) => fits(pattern, permission)),
  );
  if (named.some(({ runsOnHosts }) => runsOnHosts)) return;
  if (commands !== undefined) throw wrong('commands', 'none of the verbs runs a command');
  if (hosts !== undefined && !named.some(({ isAboutHosts }) => isAboutHosts === true)) {
    throw wrong('hosts', 'none of the verbs is about hosts');
  }
  if (lines.length > 0) throw wrong('lines', 'none of the verbs runs a command');
}

function checkPattern(path: string, pattern: string): void {
  try {
    linearPattern(pattern);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw wrong(path, `is no RE2 pattern: ${reason}`);
  }
}

function wrong(path: string, text: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: ${text}`, { detail: { path } });
}
