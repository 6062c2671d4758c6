import test from 'ava';
import type { ExecutionContext } from 'ava';
import { silentLog } from '../../core/base/log.ts';
import { publish, reached, ReleaseBench, withKey } from '../../test/support/release-bench.ts';
import type { Life } from '../../test/support/release-bench.ts';
import { newApiApp } from '../../supernode/api/fastify-app.ts';
import { operator } from './principal.ts';
import { addReleaseRoutes } from './release-routes.ts';

interface Answer {
  readonly status: number;
  /** The objects of it, one a line. */
  readonly lines: readonly Record<string, unknown>[];
}

interface Served {
  readonly bench: ReleaseBench;
  readonly life: Life;
  /** `path` after `/api/v1/releases`; `as` a principal, or the operator. */
  readonly ask: (
    method: 'GET' | 'POST',
    path: string,
    more?: { readonly body?: object; readonly as?: string },
  ) => Promise<Answer>;
}

/** The routes over two hosts. */
async function served(t: ExecutionContext): Promise<Served> {
  const bench = await ReleaseBench.open(t, ['one a', 'two b']);
  const life = await bench.live();
  await publish(life, 'web', '2');
  const app = newApiApp(silentLog);
  addReleaseRoutes(app, {
    control: () => life.ops,
    callerOf: ({ headers: { authorization: name } }) => ({
      principal: name === undefined ? operator : { name },
      source: 'test',
    }),
  });
  t.teardown(async () => {
    await app.close();
    await life[Symbol.asyncDispose]();
  });
  return {
    bench,
    life,
    ask: async (method, path, { body, as } = {}) => {
      const headers = as === undefined ? {} : { authorization: as };
      const url = `/api/v1/releases${path}`;
      const sent = body === undefined ? {} : { payload: body };
      const { statusCode, body: text } = await app.inject({ method, url, headers, ...sent });
      const lines = text
        .trimEnd()
        .split('\n')
        .map((line): Record<string, unknown> => JSON.parse(line));
      return { status: statusCode, lines };
    },
  };
}

const wish = { application: 'web', version: '2', on: 'all', batches: { size: 1 } };

test('a release is previewed, started, followed, led on and shown', async (t) => {
  const { life, ask } = await served(t);
  const [preview] = (await ask('POST', '/preview', { body: wish })).lines;
  t.like(preview, { hosts: 2, risk: 'danger', pause: 'first', maxFailures: 0 });
  t.like(preview, { package: { name: 'web', version: '2' } });
  const plan = preview?.['digest'];
  const begun = await ask('POST', '', { body: { ...wish, plan } });
  t.is(begun.status, 201);
  const id = String(begun.lines[0]?.['id']);
  await reached(life, id, 'paused');
  const following = ask('GET', `/${id}/events`);
  t.like((await ask('POST', `/${id}/continue`)).lines[0], {
    id,
    phase: 'paused',
    wish: 'continue',
  });
  const { lines } = await following;
  t.like(lines[0], { type: 'state', application: 'web', batches: 2 });
  t.like(lines.at(-1), { type: 'state', phase: 'done', stages: { switched: 2 } });
  const told = lines.filter(({ type }) => type === 'host');
  t.deepEqual(
    told.map(({ step, batch, outcome }) => [step, batch, outcome]),
    [
      ['install', 1, 'ok'],
      ['switch', 1, 'ok'],
    ],
  );
  const late = await ask('GET', `/${id}/events`);
  t.is(late.lines.length, 1, 'who comes late is told the end');
  const [shown] = (await ask('GET', `/${id}`)).lines;
  t.like(shown, { phase: 'done', failures: 0 });
  t.like((await ask('GET', '')).lines[0], { items: [{ id, phase: 'done', hosts: 2 }] });
});

test('what is not as it should be is refused, and the field is named', async (t) => {
  const { ask } = await served(t);
  const wrong: readonly (readonly [object, RegExp])[] = [
    [{ ...wish, batches: { count: 0 } }, /batches/],
    [{ ...wish, batches: {} }, /batches/],
    [{ ...wish, pause: 'often' }, /pause/],
    [{ ...wish, version: 'none' }, /version/],
    [{ ...wish, maxFailures: -1 }, /maxFailures/],
    [{ ...wish, also: 1 }, /also/],
  ];
  for (const [body, field] of wrong) {
    const { status, lines } = await ask('POST', '/preview', { body });
    t.is(status, 400);
    t.regex(JSON.stringify(lines), field);
  }
  t.is((await ask('POST', '', { body: wish })).status, 400, 'without a plan nothing is started');
  const plan = `sha256:${'0'.repeat(64)}`;
  t.is((await ask('POST', '', { body: { ...wish, plan } })).status, 409);
  t.is((await ask('GET', '/00000000')).status, 404);
  t.is((await ask('POST', '/00000000/continue')).status, 404);
});

test('who started a release may look at it; others need a policy', async (t) => {
  const { life, ask } = await served(t);
  await withKey(life, 'carol', { verbs: ['release.start'] });
  const [preview] = (await ask('POST', '/preview', { body: wish, as: 'carol' })).lines;
  const body = { ...wish, plan: preview?.['digest'] };
  const [begun] = (await ask('POST', '', { body, as: 'carol' })).lines;
  const id = String(begun?.['id']);
  await reached(life, id, 'paused');
  t.is((await ask('GET', `/${id}`, { as: 'carol' })).status, 200);
  t.is((await ask('GET', '', { as: 'carol' })).status, 403);
  t.is((await ask('POST', `/${id}/rollback`, { as: 'carol' })).status, 403);
  for (const path of [`/${id}`, `/${id}/events`, '']) {
    t.is((await ask('GET', path, { as: 'mallory' })).status, 403);
  }
  t.is((await ask('POST', '/preview', { body: wish, as: 'mallory' })).status, 403);
});
