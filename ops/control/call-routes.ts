import { Type } from 'typebox';
import { pageLimits } from '../../core/base/paging.ts';
import { callLimits } from '../../core/identity/call-order.ts';
import { CallRequest } from './call-record.ts';
import type { CallRecord } from './call-record.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import type { CallerOf } from './door-app.ts';
import { followCall } from './follow-call.ts';
import type { OpsControl } from './index.ts';
import type { Caller } from './principal.ts';

/** Arguments, as JSON may spell them. */
const MAX_BODY_BYTES = 6 * callLimits.argBytes + 65_536;
const IdParams = Type.Object({ id: Type.String({ pattern: '^[0-9a-z]{8,32}$' }) });
const ListQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  before: Type.Optional(Type.String({ pattern: '^[0-9a-z]{8,32}$' })),
});
const ResultsQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  after: Type.Optional(Type.String({ maxLength: 128 })),
});

/** Results with all their output may be long. */
const DEFAULT_RESULTS = 100;

/** How the routes come to what they need at each request. */
export interface CallRoutesOptions {
  readonly control: () => OpsControl;
  readonly callerOf: CallerOf;
}

/** Routes of calls: make one, look at them, follow one, stop one. */
export function addCallRoutes(app: ApiApp, { control, callerOf }: CallRoutesOptions): void {
  const body = { schema: { body: CallRequest }, bodyLimit: MAX_BODY_BYTES };
  app.post('/api/v1/calls', body, async (request, reply) => {
    const record = await control().submit(request.body, callerOf(request));
    return reply.code(201).header('location', `/api/v1/calls/${record.id}`).send(record);
  });

  const list = { schema: { querystring: ListQuery } };
  app.get('/api/v1/calls', list, async (request, reply) => {
    await mayLook(control(), callerOf(request));
    const { limit = pageLimits.default, before } = request.query;
    const about = before === undefined ? { limit } : { limit, before };
    const records = await control().calls.list(about);
    const items = await Promise.all(records.map(async (record) => summaryOf(control(), record)));
    const last = records.length === limit ? records.at(-1)?.id : undefined;
    return reply.send({ items, ...(last === undefined ? {} : { next: last }) });
  });

  const one = { schema: { params: IdParams, querystring: ResultsQuery } };
  app.get('/api/v1/calls/:id', one, async (request, reply) => {
    const record = await control().record(request.params.id);
    await mayLook(control(), callerOf(request), record);
    const { limit = DEFAULT_RESULTS, after } = request.query;
    const results = await control().calls.page(record.id, { limit, after });
    const summary = await summaryOf(control(), record);
    return reply.send({ ...summary, hosts: record.hosts, results });
  });

  const params = { schema: { params: IdParams } };
  app.get('/api/v1/calls/:id/events', params, async (request, reply) => {
    const record = await control().record(request.params.id);
    await mayLook(control(), callerOf(request), record);
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    await followCall(record.id, control(), raw);
  });

  app.delete('/api/v1/calls/:id', params, async (request, reply) => {
    await control().stop(request.params.id, callerOf(request));
    return reply.code(204).send();
  });
}

/** Who began a call may look at it; for all others that is a verb of its own. */
async function mayLook(control: OpsControl, caller: Caller, record?: CallRecord): Promise<void> {
  if (record !== undefined && record.principal === caller.principal.name) return;
  const object = { id: record?.id ?? '' };
  const request = { verb: 'call.list', caller, input: {}, object } as const;
  await control.door.read(request, () => undefined);
}

async function summaryOf(control: OpsControl, record: CallRecord): Promise<object> {
  const { hosts: _hosts, ...about } = record;
  const active = control.desk.find(record.id);
  if (active !== undefined) return { ...about, state: 'running', counts: active.counts };
  const end = await control.calls.end(record.id);
  return { ...about, state: 'ended', counts: end?.counts, ended: end?.at };
}
