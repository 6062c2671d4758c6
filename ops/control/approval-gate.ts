import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { randomHex } from '../../core/base/random.ts';
import type { Expectation, StateChange } from '../../core/store/state-store.ts';
import { differenceOf } from './approval-difference.ts';
import { digestOf } from './approval-record.ts';
import type { ApprovalRecord, Asked, Need } from './approval-record.ts';
import { standingOf, wordsOf } from './approval-standing.ts';
import type { KeyFacts } from './approval-standing.ts';
import type { ApprovalTable, KeptApproval } from './approval-table.ts';
import type { AuditLog } from './audit-log.ts';
import { canonical } from './audit-record.ts';
import type { DecidedObject } from './policy-decision.ts';
import type { Caller } from './principal.ts';

/** What goes into the commit of something that others agreed to, or that needs nobody's agreement. */
export interface Permit {
  readonly changes: readonly StateChange[];
  readonly expect: readonly Expectation[];
  readonly detail: Readonly<Record<string, unknown>>;
  /** Looked at last: that none of those who agreed has ceased to count. */
  readonly isGood: () => boolean;
  /** Called once, when it is committed. */
  readonly done: () => void;
}

/** What the gate stands on. */
export interface GateParts {
  readonly audit: Pick<AuditLog, 'append'>;
  readonly principals: KeyFacts;
  readonly approvals: ApprovalTable;
  readonly clock: Clock;
}

/** What somebody asks, and who must agree to it. */
export interface GateRequest {
  readonly verb: string;
  readonly caller: Caller;
  readonly input: unknown;
  readonly object: DecidedObject;
  readonly needs: readonly Need[];
  /** What it would change, where that is known beforehand. */
  readonly plan?: unknown;
}

/** What stands in the way. */
type Obstacle = 'asked' | 'waiting' | 'unknown' | 'denied' | 'changed';

const FREE: Permit = {
  changes: [],
  expect: [],
  detail: {},
  isGood: () => true,
  done: () => undefined,
};
/** Names in the audit; each that agreed has a record of its own. */
const MAX_NAMED = 32;

/** Lets through what others have agreed to, once, and writes down what they are to agree to. */
export class ApprovalGate {
  readonly #parts: GateParts;
  readonly #asking = new Map<string, Promise<ApprovalRecord>>();

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  /**
   * What must be in the commit of a request. Throws ERR_APPROVAL_NEEDED, in `detail.obstacle` why: `asked` when nothing
   * was quoted, with the id to quote; `waiting`, `denied` or `changed`, or `unknown` when the one that is quoted is none
   * of the caller's, was used, or has expired. ERR_BUSY when too much waits.
   */
  async settle(request: GateRequest): Promise<Permit> {
    const { caller, needs } = request;
    if (needs.length === 0) return FREE;
    const asked = askedIn(request);
    const { approval: id } = caller;
    if (id === undefined) {
      const record = await this.#ask(asked, request);
      throw this.#refusal('asked', record, this.#nextOf(record));
    }
    const kept = await this.#parts.approvals.find(id);
    const name = caller.principal.name;
    if (kept === undefined || kept.record.principal !== name || this.#isOver(kept.record)) {
      const why = 'it was used, has expired, or is none of yours; ask without it for another';
      throw this.#refusal('unknown', { id }, why);
    }
    return this.#permitFor(kept, { asked, needs });
  }

  #permitFor(
    kept: KeptApproval,
    { asked, needs }: { readonly asked: Asked; readonly needs: readonly Need[] },
  ): Permit {
    const { principals, approvals } = this.#parts;
    const { record } = kept;
    const { id, denied } = record;
    if (denied !== undefined) {
      const { principal, reason } = denied;
      const why = reason === undefined ? '' : `: ${reason}`;
      throw this.#refusal('denied', record, `${principal} denied it${why}`);
    }
    if (record.digest !== digestOf(asked)) {
      const why = `${differenceOf(record, asked)}; ask without it for another`;
      throw this.#refusal('changed', record, why);
    }
    if (canonical(record.needs) !== canonical(needs)) {
      const why = 'policies want other people to agree by now; ask without it for another';
      throw this.#refusal('changed', record, why);
    }
    const { agreed, open } = standingOf(record, principals);
    if (open.length > 0) throw this.#refusal('waiting', record, this.#nextOf(record));
    const { changes, expect, done } = approvals.use(kept);
    return {
      changes,
      expect,
      detail: { approval: id, approvedBy: agreed.slice(0, MAX_NAMED) },
      isGood: () => !this.#isOver(record) && standingOf(record, principals).open.length === 0,
      done,
    };
  }

  /** Writes it down, unless the same waits already. */
  async #ask(asked: Asked, request: GateRequest): Promise<ApprovalRecord> {
    const digest = digestOf(asked);
    const same = canonical([digest, request.needs]);
    const known = this.#parts.approvals
      .list()
      .find(
        (record) =>
          record.digest === digest &&
          record.denied === undefined &&
          canonical([digest, record.needs]) === same,
      );
    const writing = this.#asking.get(same);
    if (writing !== undefined) return writing;
    if (known !== undefined) return known;
    const written = this.#write({ ...asked, digest }, request);
    this.#asking.set(same, written);
    try {
      return await written;
    } finally {
      this.#asking.delete(same);
    }
  }

  async #write(
    asked: Asked & Pick<ApprovalRecord, 'digest'>,
    { caller, needs }: GateRequest,
  ): Promise<ApprovalRecord> {
    const { audit, principals, approvals, clock } = this.#parts;
    const { principal, source } = caller;
    const created = Math.round(clock.now());
    const record: ApprovalRecord = {
      ...asked,
      id: randomHex(8),
      source,
      owners: principals.issuedTo(principal),
      needs: [...needs],
      agreed: [],
      created,
      expires: created + Math.min(...needs.map(({ ttlMs }) => ttlMs)),
    };
    const { changes, expect, undo, answer } = approvals.add(record);
    try {
      if (!principals.isOpen(principal)) {
        throw new CodedError('ERR_UNAUTHORIZED', 'the API key has just been locked');
      }
      const entry = {
        kind: 'approval.ask',
        principal: principal.name,
        source,
        decision: 'allowed' as const,
        object: record.id,
        detail: entryDetailOf(record),
      };
      await audit.append(entry, { changes, ...(expect === undefined ? {} : { expect }) });
    } catch (error) {
      undo();
      throw error;
    }
    return answer();
  }

  #isOver({ expires }: ApprovalRecord): boolean {
    return expires <= this.#parts.clock.now();
  }

  /** Who is to do what next. */
  #nextOf(record: ApprovalRecord): string {
    const { id, expires } = record;
    const { agreed, open } = standingOf(record, this.#parts.principals);
    const end = new Date(expires).toISOString();
    const ask = `ask for exactly the same with --approval ${id}`;
    if (open.length === 0) return `${agreed.join(', ')} agreed; ${ask} before ${end}`;
    return `${wordsOf(open)} must agree before ${end} (dfops approvals approve ${id}); then ${ask}`;
  }

  #refusal(
    obstacle: Obstacle,
    { id, expires }: Pick<ApprovalRecord, 'id'> & Partial<Pick<ApprovalRecord, 'expires'>>,
    why: string,
  ): CodedError {
    return new CodedError('ERR_APPROVAL_NEEDED', `approval ${id}: ${why}`, {
      detail: { approval: id, obstacle, ...(expires === undefined ? {} : { expires }) },
    });
  }
}

function askedIn({ verb, caller, input, object, plan }: GateRequest): Asked {
  const { name, key } = caller.principal;
  const { command, args, hosts } = object;
  return {
    verb,
    principal: name,
    ...(key === undefined ? {} : { key }),
    input,
    ...(command === undefined ? {} : { command }),
    ...(args === undefined ? {} : { args: [...args] }),
    ...(hosts === undefined ? {} : { hosts: hosts.map(targetOf) }),
    ...(plan === undefined ? {} : { plan }),
  };
}

function targetOf({ peer, hostname, idc }: NonNullable<DecidedObject['hosts']>[number]) {
  return {
    peer,
    ...(hostname === undefined ? {} : { hostname }),
    ...(idc === undefined ? {} : { idc }),
  };
}

function entryDetailOf({ key, verb, digest, command, hosts, needs, expires }: ApprovalRecord) {
  return {
    ...(key === undefined ? {} : { key }),
    verb,
    digest,
    ...(command === undefined ? {} : { command }),
    ...(hosts === undefined ? {} : { hosts: hosts.length }),
    policies: needs.slice(0, MAX_NAMED).map(({ policy }) => policy),
    expires,
  };
}
