import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { newApiApp } from '../../supernode/api/fastify-app.ts';
import { verbSamples } from '../../test/support/verb-samples.ts';
import { operator } from './principal.ts';
import { callOf, placementOf } from './verb-request.ts';
import type { VerbCall } from './verb-request.ts';
import { VerbRoutes } from './verb-routes.ts';
import type { VerbRoutesOptions } from './verb-routes.ts';
import { isVerb, verbs } from './verbs.ts';
import type { Verb } from './verbs.ts';

type Send = (call: VerbCall, content?: string) => Promise<{ status: number; json: unknown }>;

const options: VerbRoutesOptions = {
  callerOf: () => ({ principal: operator, source: 'test' }),
  door: () => {
    throw new TypeError('handlers here have no door');
  },
};

/** A server whose handlers answer with what they were asked. */
async function echo(t: ExecutionContext): Promise<Send> {
  const app = newApiApp(silentLog);
  for (const name of Object.keys(verbs).filter(isVerb)) {
    const isBytes = 'content' in verbs[name];
    void app.register(async (part: typeof app) => {
      if (isBytes) {
        // As for blobs: the body is nobody's but the handler's.
        part.removeAllContentTypeParsers();
        part.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
      }
      new VerbRoutes(part, options).handle(name, ({ input }) => ({ name, input }));
    });
  }
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => app.close());
  const address = app.server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return async ({ method, path, body }, content) => {
    const payload = content ?? (body === undefined ? '' : JSON.stringify(body));
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    const sent = request({
      host: '127.0.0.1',
      port,
      method,
      path,
      agent: false,
      headers: { ...type, 'content-length': Buffer.byteLength(payload) },
    });
    const answered = once(sent, 'response');
    sent.end(payload);
    const [response] = (await answered) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return { status: response.statusCode ?? 0, json: JSON.parse(text) as unknown };
  };
}

const bytesOf = (verb: Verb): string | undefined =>
  verb.content === undefined ? undefined : 'abc';

test('what a verb is asked with comes to its handler as it was, through path, query and body', async (t) => {
  const send = await echo(t);
  for (const name of Object.keys(verbs).filter(isVerb)) {
    const input = verbSamples[name];
    const { status, json } = await send(callOf(name, input), bytesOf(verbs[name]));
    t.deepEqual({ status, json }, { status: 200, json: { name, input } }, name);
  }
});

test('a field that a verb does not know is refused at both ends, with its path', async (t) => {
  const send = await echo(t);
  for (const name of Object.keys(verbs).filter(isVerb)) {
    const verb: Verb = verbs[name];
    const input = verbSamples[name];
    const stranger = { ...input, stranger: 1 };
    const atClient = t.throws(() => callOf(name, stranger), { instanceOf: CodedError }, name);
    t.deepEqual([atClient.code, atClient.detail['path']], ['ERR_REQUEST', '/stranger'], name);

    const call = callOf(name, input);
    const path = `${call.path}${call.path.includes('?') ? '&' : '?'}stranger=1`;
    const refusal = { code: 'ERR_REQUEST', detail: { path: '/stranger' } };
    const inQuery = await send({ ...call, path }, bytesOf(verb));
    t.is(inQuery.status, 400, name);
    t.like(inQuery.json, { error: refusal }, name);

    const { method } = placementOf(verb);
    if (method === 'GET' || verb.content !== undefined) continue;
    const known = typeof call.body === 'object' ? call.body : {};
    const inBody = await send({ ...call, body: { ...known, stranger: 1 } });
    t.is(inBody.status, 400, name);
    t.like(inBody.json, { error: refusal }, name);
  }
});

test('a field of the path cannot be said again in the body', async (t) => {
  const send = await echo(t);
  const call = callOf('key.rotate', verbSamples['key.rotate']);
  const { status, json } = await send({ ...call, body: { id: 'f'.repeat(16) } });
  t.is(status, 400);
  t.like(json, { error: { code: 'ERR_REQUEST', message: 'body/id: is not known' } });
});
