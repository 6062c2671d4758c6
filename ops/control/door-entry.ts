import { CodedError } from '../../core/base/error.ts';
import type { AuditEntry } from './audit-record.ts';
import type { DoorRequest } from './door-request.ts';
import { verbOf } from './verbs.ts';
import type { VerbName } from './verbs.ts';

/** What the audit says of a request. */
export function entryOf(
  { verb, caller, object }: DoorRequest<VerbName>,
  { decision, detail }: Pick<AuditEntry, 'decision' | 'detail'>,
): AuditEntry {
  const { principal, source } = caller;
  const { key } = principal;
  return {
    kind: verbOf(verb)?.audit ?? 'door.unknown',
    principal: principal.name,
    source,
    decision,
    object: object.id,
    detail: key === undefined ? detail : { key: principal.key, ...detail },
  };
}

/** True for a refusal that the audit holds: of who asks and waits it knows already. */
export function isAttempt({ code, detail }: CodedError): boolean {
  if (code === 'ERR_APPROVAL_NEEDED') {
    return detail['obstacle'] !== 'asked' && detail['obstacle'] !== 'waiting';
  }
  return code === 'ERR_CAP' || code === 'ERR_UNAUTHORIZED';
}

/** True when a failed append has left nothing; after others, nobody knows before the store is read again. */
export function isCertain(error: unknown): boolean {
  const { code } = CodedError.from(error);
  return ['ERR_CONFLICT', 'ERR_REQUEST', 'ERR_BUSY', 'ERR_UNAUTHORIZED'].includes(code);
}
