import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { keysWith } from '../../core/store/state-store.ts';
import { ApprovalTable } from '../../ops/control/approval-table.ts';
import { AuditLog } from '../../ops/control/audit-log.ts';
import type { AuditEntry } from '../../ops/control/audit-record.ts';
import { Caps } from '../../ops/control/caps.ts';
import type { PrincipalCaps } from '../../ops/control/caps.ts';
import { Door } from '../../ops/control/door.ts';
import type { DoorAudit } from '../../ops/control/door.ts';
import { PolicyTable } from '../../ops/control/policy-table.ts';
import type { PolicyRule } from '../../ops/control/policy-rule.ts';
import { operator } from '../../ops/control/principal.ts';
import type { Caller, Principal } from '../../ops/control/principal.ts';
import { Principals } from '../../ops/control/principals.ts';
import type { IssuedKey } from '../../ops/control/principals.ts';

export const OPERATOR: Caller = { principal: operator, source: '127.0.0.1' };

const cellKey = HostKey.generate();
const controlKey = HostKey.generate();

/** The audit, until it is told to fail as it does when the disk is full. */
export class FailingAudit implements DoorAudit {
  readonly log: AuditLog;
  failure: Error | undefined;

  constructor(log: AuditLog) {
    this.log = log;
  }

  async append(...args: Parameters<DoorAudit['append']>): ReturnType<DoorAudit['append']> {
    if (this.failure !== undefined) throw this.failure;
    return this.log.append(...args);
  }
}

/** A door on a store, with everything that it stands on. */
export class DoorBench implements AsyncDisposable {
  readonly clock: ManualClock;
  readonly store: LevelStateStore;
  readonly audit: FailingAudit;
  readonly principals: Principals;
  readonly policies: PolicyTable;
  readonly approvals: ApprovalTable;
  readonly door: Door;

  private constructor(
    parts: Pick<DoorBench, 'clock' | 'store' | 'principals' | 'policies' | 'approvals'> & {
      log: AuditLog;
    },
  ) {
    this.clock = parts.clock;
    this.store = parts.store;
    this.principals = parts.principals;
    this.policies = parts.policies;
    this.approvals = parts.approvals;
    this.audit = new FailingAudit(parts.log);
    const caps = new Caps(this.store);
    this.door = new Door({ ...parts, audit: this.audit, caps, log: silentLog });
  }

  static async open(directory: string, clock = new ManualClock()): Promise<DoorBench> {
    const store = await LevelStateStore.open(directory);
    const principals = await Principals.open(store, { clock, log: silentLog });
    const policies = await PolicyTable.open(store);
    const approvals = await ApprovalTable.open(store, { clock, log: silentLog });
    const now = clock.now();
    const log = await AuditLog.open({
      state: store,
      cell: cellKey.peerId,
      control: {
        key: controlKey,
        certificate: issueControlCertificate(cellKey, { control: controlKey.peerId, now }),
      },
      headFile: `${directory}.head`,
      clock,
      log: silentLog,
    });
    return new DoorBench({ clock, store, principals, policies, approvals, log });
  }

  async create(principal: string, caps?: PrincipalCaps, ttlMs?: number): Promise<IssuedKey> {
    const input = {
      principal,
      ...(caps === undefined ? {} : { caps }),
      ...(ttlMs === undefined ? {} : { ttlMs }),
    };
    return this.door.perform(
      { verb: 'key.create', caller: OPERATOR, input, object: { id: principal } },
      async () => this.principals.create(input),
    );
  }

  async rotate(id: string, overlapMs?: number): Promise<IssuedKey> {
    const input = overlapMs === undefined ? { id } : { id, overlapMs };
    return this.door.perform(
      { verb: 'key.rotate', caller: OPERATOR, input, object: { id } },
      async () => this.principals.rotate(input),
    );
  }

  async lock(id: string): Promise<unknown> {
    return this.door.perform(
      { verb: 'key.lock', caller: OPERATOR, input: { id }, object: { id } },
      async () => this.principals.lock(id),
    );
  }

  async put(name: string, policy: PolicyRule): Promise<unknown> {
    return this.door.perform(
      { verb: 'policy.put', caller: OPERATOR, input: { name, policy }, object: { id: name } },
      async () => this.policies.put(name, policy),
    );
  }

  /** Runs something on hosts; the call is a row. */
  async run(principal: Principal, hosts: readonly string[], source = '10.0.0.1'): Promise<string> {
    const object = { id: 'uptime', command: 'uptime', hosts: hosts.map((peer) => ({ peer })) };
    const input = { command: 'uptime', on: 'all' };
    const id = `${hosts.join('+')}@${this.clock.now()}`;
    return this.door.perform(
      { verb: 'call.run', caller: { principal, source }, input, object },
      async () => ({
        changes: [{ type: 'put', key: `call/${id}`, value: hosts }],
        detail: { call: id },
        answer: () => id,
      }),
    );
  }

  async rows(prefix: string): Promise<{ key: string; value: unknown }[]> {
    return Array.fromAsync(this.store.range(keysWith(prefix)));
  }

  async entries(): Promise<readonly AuditEntry[]> {
    return (await this.audit.log.list({ limit: 1_000 })).records;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.door[Symbol.asyncDispose]();
    await this.principals[Symbol.asyncDispose]();
    await this.approvals[Symbol.asyncDispose]();
    await this.audit.log.close();
    await this.store.close();
  }
}

/** A folder for the store of a bench; it goes with the test. */
export async function benchFolder(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'odonata-door-'));
  t.teardown(async () => rm(directory, { recursive: true, force: true }));
  return join(directory, 'ops');
}

/** Whose key this is. */
export function found(bench: DoorBench, key: string): Principal {
  const principal = bench.principals.find(`Bearer ${key}`);
  if (principal === undefined) throw new Error('the key opens nothing');
  return principal;
}

export const runner: PolicyRule = {
  effect: 'allow',
  principals: ['ann'],
  verbs: ['call.run'],
};
export const fiveAnHour: PrincipalCaps = { hosts: { max: 5, windowMs: 3_600_000 } };

/** Names of hosts. */
export const numbered = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, at) => `host-${from + at}`);

/** ann, who may run on five hosts an hour. */
export async function ann(bench: DoorBench): Promise<{ issued: IssuedKey; principal: Principal }> {
  const issued = await bench.create('ann', fiveAnHour);
  await bench.put('runner', runner);
  return { issued, principal: found(bench, issued.key) };
}
