import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { Random } from '../../core/base/random.ts';
import type { CallResult } from '../../core/identity/call-order.ts';
import type { HostKey } from '../../core/identity/host-key.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import { ApprovalTable } from './approval-table.ts';
import { Approvals } from './approvals.ts';
import { AuditLog } from './audit-log.ts';
import { CallDesk } from './call-desk.ts';
import { digestOfTargets } from './call-record.ts';
import type { CallRecord, CallRequest } from './call-record.ts';
import { CallStore } from './call-store.ts';
import { Caps } from './caps.ts';
import { ControlKey } from './control-key.ts';
import { Door } from './door.ts';
import { HostTable } from './host-table.ts';
import type { Revocations } from './host-table.ts';
import { OwedTable } from './owed-table.ts';
import { PackageRemoval } from './package-removal.ts';
import { PackageTable } from './package-table.ts';
import { PolicyTable } from './policy-table.ts';
import type { Caller } from './principal.ts';
import { Principals } from './principals.ts';
import { QueryDesk } from './query-desk.ts';
import { ReleaseStore } from './release-store.ts';
import { Releases } from './releases.ts';
import { RevocationStamps } from './revocation-stamps.ts';
import { argumentsToJudge } from './script-text.ts';
import { Uploads } from './uploads.ts';

export interface OpsControlOptions {
  readonly dataDir: string;
  /** Cell id. */
  readonly cell: string;
  /** The key of the cell, or undefined while it is kept elsewhere. */
  readonly cellKey: () => Promise<HostKey | undefined>;
  /** Most bytes of what is uploaded for hosts; default 10 GiB. */
  readonly blobQuota?: number | undefined;
  readonly revocations: Revocations;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

type Refusal = Parameters<Door['witness']>[0];

const LOCK_WAIT_MS = 5_000;
const RENEWAL_CHECK_MS = 3_600_000;

/** The control side of the ops plane: what is asked of hosts, by whom, and what became of it. */
export class OpsControl implements AsyncDisposable {
  readonly desk: CallDesk;
  readonly hosts: HostTable;
  /** Asks connected hosts how they are. */
  readonly queries: QueryDesk;
  readonly calls: CallStore;
  readonly audit: AuditLog;
  readonly door: Door;
  readonly principals: Principals;
  readonly policies: PolicyTable;
  readonly approvals: Approvals;
  readonly packages: PackageTable;
  readonly uploads: Uploads;
  readonly removal: PackageRemoval;
  readonly releases: Releases;
  readonly stamps: RevocationStamps;
  readonly #log: Log;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    parts: Pick<
      OpsControl,
      | 'desk'
      | 'hosts'
      | 'queries'
      | 'calls'
      | 'audit'
      | 'door'
      | 'principals'
      | 'policies'
      | 'approvals'
      | 'packages'
      | 'uploads'
      | 'removal'
      | 'releases'
      | 'stamps'
    >,
    { log, resources }: { readonly log: Log; readonly resources: AsyncDisposableStack },
  ) {
    this.desk = parts.desk;
    this.hosts = parts.hosts;
    this.queries = parts.queries;
    this.calls = parts.calls;
    this.audit = parts.audit;
    this.door = parts.door;
    this.principals = parts.principals;
    this.policies = parts.policies;
    this.approvals = parts.approvals;
    this.packages = parts.packages;
    this.uploads = parts.uploads;
    this.removal = parts.removal;
    this.releases = parts.releases;
    this.stamps = parts.stamps;
    this.#log = log;
    this.#resources = resources;
    resources.use(
      this.principals.onLock((key) => {
        for (const { record } of this.desk.calls()) if (record.key === key) this.#cut(record);
      }),
    );
  }

  /** Opens the state of a data folder, with its own key; ERR_STORE_LOCKED when another process has it. */
  static async open(options: OpsControlOptions): Promise<OpsControl> {
    const { dataDir, clock } = options;
    const directory = join(dataDir, 'ops');
    const waitMs = LOCK_WAIT_MS;
    return OpsControl.on(await LevelStateStore.openWhenFree(directory, { clock, waitMs }), options);
  }

  /** The same on rows that are open, which are closed with it. */
  static async on(rows: StateStore, options: OpsControlOptions): Promise<OpsControl> {
    const { dataDir, cell, cellKey, revocations, clock, random, log } = options;
    await using stack = new AsyncDisposableStack();
    const state = stack.use(rows);
    const control = await ControlKey.open({ dataDir, state, cell, clock, cellKey });
    stack.defer(renewed(control, { clock, log }));
    const headFile = join(dataDir, 'ops-audit-head');
    const audit = stack.use(await AuditLog.open({ state, cell, control, headFile, clock, log }));
    const principals = stack.use(await Principals.open(state, { clock, log }));
    const policies = await PolicyTable.open(state);
    const table = stack.use(await ApprovalTable.open(state, { clock, log }));
    const caps = new Caps(state);
    const asked = { principals, approvals: table, clock };
    const door = stack.use(new Door({ ...asked, audit, policies, caps, log }));
    const approvals = new Approvals({ ...asked, door });
    const hosts = stack.use(await HostTable.open({ state, revocations, clock, log }));
    const packages = await PackageTable.open(state);
    const { blobQuota } = options;
    const uploads = stack.use(
      await Uploads.open({ dataDir, blobQuota, packages, door, clock, log }),
    );
    const calls = await CallStore.open(state);
    const desk = stack.use(
      await CallDesk.open({
        store: calls,
        control,
        hosts,
        epoch: () => revocations.epoch(),
        cell,
        clock,
        random,
        log,
        onRefused: (result) => void door.witness(refusalOf(result)),
      }),
    );
    const store = await ReleaseStore.open(state);
    const owed = await OwedTable.open(state);
    const shared = { store, desk, calls, audit, door, principals, packages, owed };
    const releases = stack.use(await Releases.open({ ...shared, clock, random, log }));
    const { repairs } = releases;
    const removal = await PackageRemoval.open({ ...shared, uploads, hosts, repairs, state });
    const parts = {
      removal,
      stamps: new RevocationStamps({ control, cell, clock, log }),
      releases,
      desk,
      hosts,
      queries: new QueryDesk(clock),
      calls,
      audit,
      door,
      principals,
      policies,
      approvals,
      packages,
      uploads,
    };
    return new OpsControl(parts, { log, resources: stack.move() });
  }

  /**
   * Begins a call, or finds the one that was begun with the same word; it is on the disk, and in the audit, before any
   * host hears of it. What the door refuses, and what `CallDesk.plan()` does.
   */
  async submit(request: CallRequest, caller: Caller): Promise<CallRecord> {
    const { name } = caller.principal;
    const word = request.idempotencyKey;
    const asked = { verb: 'call.run', caller, input: request } as const;
    const named = { id: request.command, command: request.command, args: request.args ?? [] };
    // Who may do it nowhere learns nothing of calls and scripts that there are.
    await this.door.lookUp({ ...asked, object: named }, () => undefined);
    const known = word === undefined ? undefined : await this.calls.withWord(name, word);
    if (known !== undefined) {
      await this.door.admit({ ...asked, object: known });
      return known;
    }
    const judged = await argumentsToJudge(request, this.uploads);
    const { record, changes, expect } = await this.door.lookUp(
      { ...asked, object: { ...named, args: judged } },
      () => this.desk.plan(request, caller.principal),
    );
    const { id, command, args, hosts, on, lane, runAs } = record;
    const detail = {
      command,
      args: args.length,
      argsDigest: createHash('sha256').update(JSON.stringify(args)).digest('hex'),
      on: on.slice(0, 200),
      hosts: hosts.length,
      hostsDigest: digestOfTargets(hosts),
      lane,
      ...(runAs === undefined ? {} : { runAs }),
    };
    try {
      return await this.door.perform(
        { ...asked, object: { id, command, args: judged, hosts } },
        async () => ({
          changes,
          expect,
          detail,
          answer: () => {
            this.desk.begin(record);
            return record;
          },
        }),
      );
    } catch (error) {
      const { code } = CodedError.from(error);
      if (code !== 'ERR_CONFLICT' || word === undefined) throw error;
      const other = await this.calls.withWord(name, word);
      if (other === undefined) throw error;
      return other;
    }
  }

  /** The call of this id; undefined when there is none, or not any more. */
  async find(id: string): Promise<CallRecord | undefined> {
    return this.desk.find(id)?.record ?? (await this.calls.find(id));
  }

  /** The call of this id; ERR_NOT_FOUND. */
  async record(id: string): Promise<CallRecord> {
    const record = await this.find(id);
    if (record !== undefined) return record;
    throw new CodedError('ERR_NOT_FOUND', 'there is no call of this id, or not any more');
  }

  /** Stops a call; harmless when it has ended. ERR_NOT_FOUND when there is none, and what the door refuses. */
  async stop(id: string, caller: Caller): Promise<void> {
    const asked = { verb: 'call.cancel', caller, input: { id } } as const;
    const { command, hosts } = await this.door.lookUp({ ...asked, object: { id } }, async () =>
      this.record(id),
    );
    await this.door.perform({ ...asked, object: { id, command, hosts } }, async () => ({
      changes: this.desk.find(id) === undefined ? [] : this.desk.planStop(id),
      detail: { command, hosts: hosts.length },
      answer: () => undefined,
    }));
    await this.desk.stop(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }

  /** A call of a key that was locked is ended by the door itself. */
  #cut({ id, command, key = '' }: CallRecord): void {
    const entry = {
      kind: 'call.cancel',
      principal: 'door',
      source: 'key.lock',
      decision: 'allowed' as const,
      object: id,
      detail: { command, key },
    };
    this.audit
      .append(entry, { changes: this.desk.planStop(id) })
      .catch((error: unknown) => this.#log.error({ call: id, err: error }, 'a stop is not kept'))
      // Who lost his key must not go on for want of a record of it.
      .finally(() => void this.desk.stop(id));
  }
}

/** Has the control key certified anew in time; the return value ends that. */
function renewed(
  control: ControlKey,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): () => void {
  const renewal = clock.every(RENEWAL_CHECK_MS, () => {
    control
      .renewIfDue()
      .catch((error: unknown) => log.error({ err: error }, 'the control key is not certified'));
  });
  return () => renewal.cancel();
}

/** A host that refuses may have been given what nobody here gave it. */
function refusalOf({ host, call, code = '', message = '' }: CallResult): Refusal {
  const detail = { code, message };
  return { kind: 'call.refused', principal: 'host', source: host, object: call, detail };
}
