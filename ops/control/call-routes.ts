import type { ApiApp } from '../../core/base/api-app.ts';
import { pageLimits } from '../../core/base/paging.ts';
import { callLimits } from '../../core/identity/call-order.ts';
import type { CallRecord } from './call-record.ts';
import type { CallerOf } from './door-app.ts';
import { followCall } from './follow-call.ts';
import type { OpsControl } from './index.ts';
import { VerbRoutes } from './verb-routes.ts';
import type { VerbRequest } from './verb-routes.ts';

/** Arguments, as JSON may spell them. */
const MAX_BODY_BYTES = 6 * callLimits.argBytes + 65_536;
/** Results with all their output may be long. */
const DEFAULT_RESULTS = 100;

/** How the routes come to what they need at each request. */
export interface CallRoutesOptions {
  readonly control: () => OpsControl;
  readonly callerOf: CallerOf;
}

/** Routes of calls: make one, look at them, follow one, stop one. */
export function addCallRoutes(app: ApiApp, { control, callerOf }: CallRoutesOptions): void {
  const routes = new VerbRoutes(app, { callerOf, door: () => control().door });
  routes.handle(
    'call.run',
    async ({ input, caller, reply }) => {
      const record = await control().submit(input, caller);
      void reply.header('location', `/api/v1/calls/${record.id}`);
      return record;
    },
    { status: 201, bodyLimit: MAX_BODY_BYTES },
  );

  routes.read('call.list', async ({ limit = pageLimits.default, before }) => {
    const about = before === undefined ? { limit } : { limit, before };
    const records = await control().calls.list(about);
    const items = await Promise.all(records.map(async (record) => summaryOf(control(), record)));
    const last = records.length === limit ? records.at(-1)?.id : undefined;
    return { items, ...(last === undefined ? {} : { next: last }) };
  });

  routes.handle('call.show', async (request) => {
    const record = await recordFor(control(), 'call.show', request);
    const { limit = DEFAULT_RESULTS, after } = request.input;
    const results = await control().calls.page(record.id, { limit, after });
    const summary = await summaryOf(control(), record);
    return { ...summary, hosts: record.hosts, results };
  });

  routes.handle('call.follow', async (request) => {
    const { id } = await recordFor(control(), 'call.follow', request);
    const { reply } = request;
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    await followCall(id, control(), raw);
  });

  routes.handle('call.cancel', ({ input, caller }) => control().stop(input.id, caller));
}

/**
 * The call that somebody would look at: who began it may; for all others that is for the door to say, which tells only
 * who may look at any that there is none.
 */
async function recordFor<Name extends 'call.show' | 'call.follow'>(
  control: OpsControl,
  verb: Name,
  { input, caller }: VerbRequest<Name>,
): Promise<CallRecord> {
  const record = await control.find(input.id);
  if (record?.principal === caller.principal.name) return record;
  const object = { id: input.id };
  return control.door.read({ verb, caller, input, object }, async () => control.record(input.id));
}

async function summaryOf(control: OpsControl, record: CallRecord): Promise<object> {
  const { hosts: _hosts, ...about } = record;
  const active = control.desk.find(record.id);
  if (active !== undefined) return { ...about, state: 'running', counts: active.counts };
  const end = await control.calls.end(record.id);
  return { ...about, state: 'ended', counts: end?.counts, ended: end?.at };
}
