import { CodedError } from '../../core/base/error.ts';
import type { ApiClient } from '../../ops/cli/api-client.ts';
import type { CallEvent } from '../../ops/cli/call-api.ts';

/** Hosts of a call. */
export type CallCounts = Extract<CallEvent, { type: 'ended' }>['counts'];

/** Resolves when a call has ended: on how many hosts it was, and how many ended how. */
export async function endOfCall(api: ApiClient, id: string): Promise<CallCounts> {
  let last: CallEvent | undefined;
  for await (const event of api.follow('call.follow', { id })) last = event;
  if (last?.type === 'ended') return last.counts;
  throw new CodedError('ERR_INTERNAL', `call ${id} has no end: ${JSON.stringify(last)}`);
}
