import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { ApprovalGate } from './approval-gate.ts';
import type { Permit } from './approval-gate.ts';
import type { ApprovalTable } from './approval-table.ts';
import type { AuditLog } from './audit-log.ts';
import type { AuditEntry } from './audit-record.ts';
import type { Caps, Reservation } from './caps.ts';
import { Denials } from './door-denials.ts';
import type { Effect } from './door-effect.ts';
import { entryOf, isAttempt, isCertain } from './door-entry.ts';
import type { DoorRequest } from './door-request.ts';
import { decide, foresee } from './policy-decision.ts';
import type { Decision, Outlook } from './policy-decision.ts';
import type { PolicyTable } from './policy-table.ts';
import { operator } from './principal.ts';
import type { Principals } from './principals.ts';
import { parseInput } from './verb-request.ts';
import { verbOf } from './verbs.ts';
import type { ChangeVerb, ReadVerb, VerbName } from './verbs.ts';

/** Where the door writes: a record and changes in one commit. */
export type DoorAudit = Pick<AuditLog, 'append'>;

/** What the door stands on. */
export interface DoorParts {
  readonly audit: DoorAudit;
  readonly principals: Pick<Principals, 'isOpen' | 'capsOf' | 'issuedTo'>;
  readonly policies: Pick<PolicyTable, 'about'>;
  readonly caps: Caps;
  readonly approvals: ApprovalTable;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often an effect is made again because what it was based on had changed. */
const MAX_TRIES = 3;
const NOTHING: Reservation = { changes: [], expect: [] };

/**
 * The one way to everything that the ops plane can do. In this order: does the request fit its schema, may the
 * principal, have others agreed where they must, do its caps leave room; then one commit holds the audit's record, the
 * end of the approval, what the caps count, and what changes.
 */
export class Door implements AsyncDisposable {
  readonly #parts: DoorParts;
  readonly #denials: Denials;
  readonly #gate: ApprovalGate;

  constructor(parts: DoorParts) {
    this.#parts = parts;
    this.#gate = new ApprovalGate(parts);
    this.#denials = new Denials(parts.audit, parts);
  }

  /**
   * Does it, or nothing at all. ERR_REQUEST, ERR_DENIED, ERR_APPROVAL_NEEDED (see `ApprovalGate.settle()`), ERR_CAP,
   * ERR_UNAUTHORIZED when the key was locked meanwhile, what `effect` throws, and the store's error when the audit
   * cannot be written.
   */
  async perform<T>(request: DoorRequest<ChangeVerb>, effect: () => Promise<Effect<T>>): Promise<T> {
    const decision = await this.#admit(request);
    for (let tries = 1; ; tries += 1) {
      try {
        const plan = verbOf(request.verb)?.mayNarrow === true ? await effect() : undefined;
        const permit = await this.#settle(request, { needs: decision.needs, plan });
        return await this.#withinCaps(request, async (reservation) =>
          this.#commit(request, {
            effect: plan ?? (await effect()),
            reservation,
            permit,
            decision,
          }),
        );
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        if (error.code === 'ERR_CONFLICT' && tries < MAX_TRIES) continue;
        if (isAttempt(error)) await this.#deny(request, { code: error.code, ...error.detail });
        throw error;
      }
    }
  }

  /** Looks at something, which leaves no record; ERR_REQUEST, ERR_DENIED, or what `look` throws. */
  async read<T>(request: DoorRequest<ReadVerb>, look: () => Promise<T> | T): Promise<T> {
    await this.#admit(request);
    return look();
  }

  /**
   * Whether policies let it be done, for what is known to have been done already: nothing is written of it, counted or
   * used up. ERR_REQUEST, ERR_DENIED.
   */
  async admit(request: DoorRequest<ChangeVerb>): Promise<void> {
    await this.#admit(request);
  }

  /**
   * What `look` makes of the hosts that somebody names, or of an id of what was begun on hosts, before anything is asked
   * of them. Who may do it nowhere gets ERR_DENIED without a look; who may on some hosts only gets it too, with the same
   * words, where `look` throws ERR_NOT_FOUND: neither learns what there is. Else what `look` throws; ERR_REQUEST.
   */
  async lookUp<T>(request: DoorRequest<VerbName>, look: () => Promise<T> | T): Promise<T> {
    const { verb, caller, input } = request;
    parseInput(verb, input);
    const outlook = this.#outlookOf(request);
    if (outlook.decision === 'denied') return this.#refuse(request, outlook);
    try {
      return await look();
    } catch (error) {
      const isHidden = CodedError.from(error).code === 'ERR_NOT_FOUND' && !outlook.isOnAny;
      if (!isHidden || caller.principal === operator) throw error;
      return this.#refuse(request, { decision: 'denied' });
    }
  }

  /** Writes down what was refused elsewhere: a host that did not believe an order. */
  async witness(entry: Omit<AuditEntry, 'decision'>): Promise<void> {
    await this.#denials.note({ ...entry, decision: 'denied' });
  }

  /** Writes what is still to be written of denials. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#denials[Symbol.asyncDispose]();
  }

  /** Schema and permission; who is denied is written down. */
  async #admit(request: DoorRequest<VerbName>): Promise<Decision> {
    const { verb: name, caller, input, object } = request;
    const { principal } = caller;
    const verb = verbOf(name);
    if (verb !== undefined) parseInput(name, input);
    if (
      verb?.runsOnHosts === true &&
      (object.command === undefined || object.hosts === undefined)
    ) {
      throw new TypeError(`${name} must name its command and its hosts`);
    }
    const isOperators = verb?.isForNamed !== true || object.isNamed === true;
    if (verb !== undefined && principal === operator && isOperators) return { decision: 'allowed' };
    const policies = this.#parts.policies.about(principal.name);
    const decision = decide(policies, { principal: principal.name, verb: name, object });
    if (decision.decision === 'allowed') return decision;
    return this.#refuse(request, decision);
  }

  #outlookOf({ verb, caller, object }: DoorRequest<VerbName>): Outlook {
    const { principal } = caller;
    if (principal === operator) return { decision: 'allowed', isOnAny: true };
    const policies = this.#parts.policies.about(principal.name);
    return foresee(policies, { principal: principal.name, verb, object });
  }

  /** Writes it down, and throws. */
  async #refuse(request: DoorRequest<VerbName>, { policy }: Decision): Promise<never> {
    const { verb, caller, object } = request;
    const { name } = caller.principal;
    await this.#deny(request, { code: 'ERR_DENIED', ...(policy === undefined ? {} : { policy }) });
    const outlook = this.#outlookOf(request);
    const why =
      outlook.decision === 'allowed' && !outlook.isOnAny
        ? noneOrNotAllowed(verb)
        : policy === undefined
          ? (object.whyNot ?? 'no policy allows it')
          : `policy ${policy} forbids it`;
    const permission = verbOf(verb)?.permission ?? verb;
    const detail = { principal: name, verb: permission };
    throw new CodedError('ERR_DENIED', `${name} may not ${permission}: ${why}`, { detail });
  }

  /** What narrows what is allowed needs nobody's agreement. */
  async #settle<T>(
    request: DoorRequest<ChangeVerb>,
    {
      needs = [],
      plan,
    }: { readonly needs: Decision['needs']; readonly plan: Effect<T> | undefined },
  ): Promise<Permit> {
    const { verb, caller, input, object } = request;
    const isFree = plan?.isNarrower === true;
    return this.#gate.settle({
      verb,
      caller,
      input,
      object,
      needs: isFree ? [] : needs,
      ...(plan === undefined ? {} : { plan: plan.detail }),
    });
  }

  async #withinCaps<T>(
    { verb, caller, object }: DoorRequest<ChangeVerb>,
    commit: (reservation: Reservation) => Promise<T>,
  ): Promise<T> {
    const { principals, caps: counted, clock } = this.#parts;
    const { principal } = caller;
    const caps = principal === operator ? undefined : principals.capsOf(principal.name);
    if (caps === undefined || verbOf(verb)?.runsOnHosts !== true) return commit(NOTHING);
    const hosts = (object.hosts ?? []).map(({ peer }) => peer);
    return counted.within({ principal: principal.name, caps, hosts, now: clock.now() }, commit);
  }

  async #commit<T>(
    request: DoorRequest<ChangeVerb>,
    {
      effect,
      reservation,
      permit,
      decision,
    }: {
      readonly effect: Effect<T>;
      readonly reservation: Reservation;
      readonly permit: Permit;
      readonly decision: Decision;
    },
  ): Promise<T> {
    const { audit, principals } = this.#parts;
    const { caller } = request;
    const { policy } = decision;
    const detail = {
      ...effect.detail,
      ...(policy === undefined ? {} : { policy }),
      ...permit.detail,
    };
    const expect = [...(effect.expect ?? []), ...reservation.expect, ...permit.expect];
    try {
      // Nothing may come between this look and the append: a lock that comes after it finds what is appended here.
      if (!principals.isOpen(caller.principal)) {
        throw new CodedError('ERR_UNAUTHORIZED', 'the API key has just been locked');
      }
      if (!permit.isGood()) throw new CodedError('ERR_CONFLICT', 'an approval has just ended');
      await audit.append(entryOf(request, { decision: 'allowed', detail }), {
        changes: [...effect.changes, ...reservation.changes, ...permit.changes],
        expect,
      });
    } catch (error) {
      if (isCertain(error)) effect.undo?.();
      throw error;
    }
    permit.done();
    return effect.answer();
  }

  async #deny(
    request: DoorRequest<VerbName>,
    why: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { command, hosts } = request.object;
    const detail = {
      ...(command === undefined ? {} : { command }),
      ...(hosts === undefined ? {} : { hosts: hosts.length }),
      ...why,
    };
    await this.#denials.note(entryOf(request, { decision: 'denied', detail }));
  }
}

/** The same words for what there is and for what there is not. */
function noneOrNotAllowed(verb: VerbName): string {
  return verbOf(verb)?.isOfBegun === true
    ? 'no policy allows it for this one, or there is none of this id'
    : 'no policy allows it on all of these hosts, or there are none';
}
