import type { Clock } from '../../core/base/clock.ts';
import { pageLimits, pageOf } from '../../core/base/paging.ts';
import type { Paged } from '../../core/base/paging.ts';
import type { ApprovalRecord } from './approval-record.ts';
import { maySee, standingOf, whyNotAgree, whyNotDeny } from './approval-standing.ts';
import type { ApproverList } from './approval-quorum.ts';
import type { KeyFacts } from './approval-standing.ts';
import { noSuch } from './approval-table.ts';
import type { ApprovalTable } from './approval-table.ts';
import type { Door } from './door.ts';
import type { Caller } from './principal.ts';
import type { VerbInput } from './verbs.ts';

/** What approvals stand on. */
export interface ApprovalsParts {
  readonly door: Pick<Door, 'perform' | 'read'>;
  readonly approvals: ApprovalTable;
  readonly principals: KeyFacts;
  readonly clock: Clock;
}

/** One of a list: what was asked in short, and how far it is. */
export interface ApprovalSummary extends Pick<
  ApprovalRecord,
  'id' | 'verb' | 'principal' | 'command' | 'created' | 'expires'
> {
  readonly hostCount?: number;
  readonly state: 'waiting' | 'approved' | 'denied';
  readonly agreed: readonly string[];
  /** Of each of these lists one is still to agree. */
  readonly open: readonly ApproverList[];
  readonly deniedBy?: string;
  readonly deniedFor?: string;
}

/** All of what was asked: the approver agrees to exactly this. */
export type ApprovalView = ApprovalSummary &
  Pick<ApprovalRecord, 'key' | 'source' | 'input' | 'args' | 'hosts' | 'plan' | 'digest'>;

/** What waits for agreement, for those who are to agree and for who asked. */
export class Approvals {
  readonly #parts: ApprovalsParts;

  constructor(parts: ApprovalsParts) {
    this.#parts = parts;
  }

  /** What the caller may see, by id. */
  async list(input: VerbInput<'approval.list'>, caller: Caller): Promise<Paged<ApprovalSummary>> {
    const { door, approvals } = this.#parts;
    const { limit = pageLimits.default, after = '' } = input;
    const object = { id: '', isNamed: true };
    return door.read({ verb: 'approval.list', caller, input, object }, () => {
      const seen = approvals.list().filter((record) => maySee(record, caller.principal));
      const byId = new Map(seen.map((record) => [record.id, record]));
      return pageOf(byId.keys(), { limit, after }, (id) => {
        const record = byId.get(id);
        return record === undefined ? undefined : this.#summaryOf(record);
      });
    });
  }

  /** ERR_NOT_FOUND; ERR_DENIED for who neither asked nor is to agree. */
  async show(id: string, caller: Caller): Promise<ApprovalView> {
    const record = await this.#read(id);
    const object = { id, isNamed: maySee(record, caller.principal), whyNot: 'it is not for him' };
    return this.#parts.door.read({ verb: 'approval.show', caller, input: { id }, object }, () =>
      this.#viewOf(record),
    );
  }

  /** The caller agrees. ERR_NOT_FOUND, ERR_CONFLICT when it was denied, ERR_DENIED for who may not, with why. */
  async agree(id: string, caller: Caller): Promise<ApprovalView> {
    const { door, approvals, principals } = this.#parts;
    const { principal } = caller;
    const whyNot = whyNotAgree(await this.#read(id), principal, principals);
    const object = { id, isNamed: whyNot === undefined, whyNot };
    const record = await door.perform(
      { verb: 'approval.give', caller, input: { id }, object },
      async () => approvals.agree(id, principal),
    );
    return this.#viewOf(record);
  }

  /** The caller denies it, for good, or takes back what he asked; who asked is told the reason. As `agree()` throws. */
  async deny({ id, reason }: VerbInput<'approval.deny'>, caller: Caller): Promise<ApprovalView> {
    const { door, approvals } = this.#parts;
    const { principal } = caller;
    const whyNot = whyNotDeny(await this.#read(id), principal);
    const object = { id, isNamed: whyNot === undefined, whyNot };
    const record = await door.perform(
      {
        verb: 'approval.deny',
        caller,
        input: reason === undefined ? { id } : { id, reason },
        object,
      },
      async () => approvals.deny(id, principal, reason),
    );
    return this.#viewOf(record);
  }

  /** How many there are, by how far they are. */
  standing(): Map<ApprovalSummary['state'], number> {
    const counts = new Map<ApprovalSummary['state'], number>();
    for (const record of this.#parts.approvals.list()) {
      const { state } = this.#summaryOf(record);
      counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    return counts;
  }

  /** What became of them since the start. */
  get counts(): ReadonlyMap<string, number> {
    return this.#parts.approvals.counts;
  }

  async #read(id: string): Promise<ApprovalRecord> {
    const { approvals, clock } = this.#parts;
    const kept = await approvals.find(id);
    if (kept === undefined || kept.record.expires <= clock.now()) throw noSuch();
    return kept.record;
  }

  #summaryOf(record: ApprovalRecord): ApprovalSummary {
    const { id, verb, principal, command, hosts, denied, created, expires } = record;
    const { agreed, open } = standingOf(record, this.#parts.principals);
    return {
      id,
      verb,
      principal,
      ...(command === undefined ? {} : { command }),
      ...(hosts === undefined ? {} : { hostCount: hosts.length }),
      state: denied !== undefined ? 'denied' : open.length === 0 ? 'approved' : 'waiting',
      agreed,
      open,
      ...(denied === undefined ? {} : { deniedBy: denied.principal }),
      ...(denied?.reason === undefined ? {} : { deniedFor: denied.reason }),
      created,
      expires,
    };
  }

  #viewOf(record: ApprovalRecord): ApprovalView {
    const { key, source, input, args, hosts, plan, digest } = record;
    return {
      ...this.#summaryOf(record),
      source,
      ...(key === undefined ? {} : { key }),
      input,
      ...(args === undefined ? {} : { args }),
      ...(hosts === undefined ? {} : { hosts }),
      ...(plan === undefined ? {} : { plan }),
      digest,
    };
  }
}
