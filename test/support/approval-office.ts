import type { ExecutionContext } from 'ava';
import { CodedError } from '../../core/base/error.ts';
import { Approvals } from '../../ops/control/approvals.ts';
import type { PolicyRule } from '../../ops/control/policy-rule.ts';
import type { Principal } from '../../ops/control/principal.ts';
import type { IssuedKey } from '../../ops/control/principals.ts';
import { DoorBench, benchFolder, found } from './door-bench.ts';

const names = ['ann', 'bob', 'eve', 'zoe'] as const;
export const allow: PolicyRule = { effect: 'allow', principals: ['*'], verbs: ['*'] };
export const fourEyes: PolicyRule = {
  effect: 'approve',
  principals: ['*'],
  verbs: ['call.run'],
  approvers: [['ann', 'bob'], ['eve']],
};

/** ann asks; one of ann and bob must agree, and eve. */
export class Office {
  readonly bench: DoorBench;
  readonly keys: ReadonlyMap<string, IssuedKey>;
  readonly approvals: Approvals;

  private constructor(bench: DoorBench, keys: ReadonlyMap<string, IssuedKey>) {
    this.bench = bench;
    this.keys = keys;
    this.approvals = new Approvals(bench);
  }

  static async open(bench: DoorBench, rule = fourEyes): Promise<Office> {
    const keys = new Map<string, IssuedKey>();
    for (const name of names) keys.set(name, await bench.create(name));
    await bench.put('all', allow);
    await bench.put('four-eyes', rule);
    return new Office(bench, keys);
  }

  /** The same people after a restart. */
  again(bench: DoorBench): Office {
    return new Office(bench, this.keys);
  }

  who(name: string): Principal {
    return found(this.bench, this.keys.get(name)?.key ?? '');
  }

  async agree(name: string, id: string): Promise<string> {
    return (await this.approvals.agree(id, { principal: this.who(name), source: '10.0.0.2' }))
      .state;
  }

  async deny(name: string, id: string): Promise<string> {
    return (await this.approvals.deny({ id }, { principal: this.who(name), source: '10.0.0.2' }))
      .state;
  }

  /** A key that somebody other than the operator had made, and so has seen. */
  async issue(principal: string, by: string): Promise<Principal> {
    const { door, principals } = this.bench;
    const input = { principal };
    const caller = { principal: this.who(by), source: '10.0.0.3' };
    const { key } = await door.perform(
      { verb: 'key.create', caller, input, object: { id: principal } },
      async () => principals.create(input, caller.principal),
    );
    return found(this.bench, key);
  }

  /** Runs something; the call is a row. */
  async run({
    approval,
    by = 'ann',
    args = ['-a'],
    hosts = ['h1', 'h2'],
    meanwhile,
  }: {
    approval?: string;
    by?: string | Principal;
    args?: string[];
    hosts?: string[];
    /** Done once, after the approval was looked at and before the commit. */
    meanwhile?: () => unknown;
  } = {}): Promise<string> {
    const principal = typeof by === 'string' ? this.who(by) : by;
    const caller = {
      principal,
      source: '10.0.0.1',
      ...(approval === undefined ? {} : { approval }),
    };
    const targets = hosts.map((peer) => ({ peer, hostname: `web-${peer}` }));
    const object = { id: 'df', command: 'df', args, hosts: targets };
    const input = { command: 'df', args, on: 'all' };
    return this.bench.door.perform({ verb: 'call.run', caller, input, object }, async () => {
      const between = meanwhile;
      meanwhile = undefined;
      await between?.();
      return {
        changes: [{ type: 'put', key: 'call/1', value: hosts }],
        detail: {},
        answer: () => 'done',
      };
    });
  }

  /** The id under which it waits. */
  async ask(options: Parameters<Office['run']>[0] = {}): Promise<string> {
    try {
      return await this.run(options);
    } catch (error) {
      const { code, detail } = CodedError.from(error);
      if (code !== 'ERR_APPROVAL_NEEDED' || detail['obstacle'] !== 'asked') throw error;
      return String(detail['approval']);
    }
  }

  /** How often it was done, by the audit. */
  async runs(): Promise<number> {
    const entries = await this.bench.entries();
    return entries.filter(({ kind, decision }) => kind === 'call.run' && decision === 'allowed')
      .length;
  }
}

/** The office, closed with the test. */
export async function office(t: ExecutionContext, rule?: PolicyRule): Promise<[DoorBench, Office]> {
  const bench = await DoorBench.open(await benchFolder(t));
  t.teardown(async () => bench[Symbol.asyncDispose]());
  return [bench, await Office.open(bench, rule)];
}
