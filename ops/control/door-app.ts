import type { IncomingHttpHeaders } from 'node:http';
import { CodedError } from '../../core/base/error.ts';
import { isApprovalId } from './approval-record.ts';
import type { Caller } from './principal.ts';

/** Who sent a request that was let in; throws for one that was not. */
export type CallerOf = (request: {
  readonly ip: string;
  readonly headers: IncomingHttpHeaders;
}) => Caller;

/** Names the approval that a request quotes: the same for every verb, whatever its body. */
export const approvalHeader = 'odonata-approval';

/** The caller with the approval that his request quotes, if it does; ERR_REQUEST for what is no id of one. */
export function quotedApproval(headers: IncomingHttpHeaders, caller: Caller): Caller {
  const approval = headers[approvalHeader];
  if (approval === undefined) return caller;
  if (isApprovalId(approval)) return { ...caller, approval };
  const message = `${approvalHeader}: expected the id of one approval`;
  throw new CodedError('ERR_REQUEST', message, { detail: { path: approvalHeader } });
}
