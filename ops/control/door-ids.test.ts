import test from 'ava';
import type { ExecutionContext } from 'ava';
import { silentLog } from '../../core/base/log.ts';
import { newApiApp } from '../../supernode/api/fastify-app.ts';
import { alice, publish, reached, ReleaseBench, start } from '../../test/support/release-bench.ts';
import { addCallRoutes } from './call-routes.ts';
import type { CallRoutesOptions } from './call-routes.ts';
import type { OpsControl } from './index.ts';
import type { PolicyRule } from './policy-rule.ts';
import { operator } from './principal.ts';
import { addReleaseRoutes } from './release-routes.ts';

/** No call and no release has it. */
const NONE = '00000000000000000';

interface Served {
  readonly ops: OpsControl;
  /** Of `uptime`, by the operator, on one host of idc `a`. */
  readonly call: string;
  /** By the operator, on the same host; it has ended. */
  readonly release: string;
  /** What a principal, or the operator, is told: the status, and the answer where it is an error. */
  readonly told: (ask: string, as?: string) => Promise<string>;
  /** What somebody is told who looks at both, follows both, stops the one and pauses the other. */
  readonly asks: (
    as: string,
    ids: { readonly call: string; readonly release: string },
  ) => Promise<string[]>;
}

async function served(t: ExecutionContext): Promise<Served> {
  const bench = await ReleaseBench.open(t, ['web-1 a']);
  const life = await bench.live();
  const { ops } = life;
  await publish(life, 'web', '2');
  const release = await start(life, { pause: 'none', batches: { count: 1 } });
  await reached(life, release, 'done');
  const { id: call } = await ops.submit({ command: 'uptime', on: 'all' }, alice);
  const app = newApiApp(silentLog);
  const options: CallRoutesOptions = {
    control: () => ops,
    callerOf: ({ headers: { authorization: name } }) => ({
      principal: name === undefined ? operator : { name },
      source: 'test',
    }),
  };
  addCallRoutes(app, options);
  addReleaseRoutes(app, options);
  t.teardown(async () => {
    await app.close();
    await life[Symbol.asyncDispose]();
  });
  const told: Served['told'] = async (ask, as) => {
    const [method = '', path = ''] = ask.split(' ');
    const { statusCode, body } = await app.inject({
      method: method === 'DELETE' ? 'DELETE' : method === 'POST' ? 'POST' : 'GET',
      url: `/api/v1/${path}`,
      headers: as === undefined ? {} : { authorization: as },
    });
    return statusCode < 400 ? `${statusCode}` : `${statusCode} ${body}`;
  };
  return {
    ops,
    call,
    release,
    told,
    asks: async (as, ids) => {
      const asks = [
        `GET calls/${ids.call}`,
        `GET calls/${ids.call}/events`,
        `DELETE calls/${ids.call}`,
        `GET releases/${ids.release}`,
        `GET releases/${ids.release}/events`,
        `POST releases/${ids.release}/pause`,
      ];
      const answers: string[] = [];
      for (const ask of asks) answers.push(await told(ask, as));
      return answers;
    },
  };
}

async function put(ops: OpsControl, name: string, policy: PolicyRule): Promise<void> {
  const input = { name, policy };
  await ops.door.perform(
    { verb: 'policy.put', caller: alice, input, object: { id: name } },
    async () => ops.policies.put(name, policy),
  );
}

const ann: PolicyRule = { effect: 'allow', principals: ['ann'], verbs: ['call.*', 'release.*'] };

test('who may not hears the same of calls and releases that there are and that there are not', async (t) => {
  const { ops, call, release, asks } = await served(t);
  const answers = await asks('ann', { call, release });
  for (const answer of answers) t.regex(answer, /^403 .*ERR_DENIED.*no policy allows it/);
  t.deepEqual(await asks('ann', { call: NONE, release: NONE }), answers);
  await put(ops, 'all', { ...ann, verbs: ['*'] });
  await put(ops, 'nobody', { effect: 'forbid', principals: ['*'], verbs: ['*'] });
  const forbidden = await asks('ann', { call, release });
  for (const answer of forbidden) t.regex(answer, /^403 .*policy nobody forbids it/);
  t.deepEqual(await asks('ann', { call: NONE, release: NONE }), forbidden);
  const { records } = await ops.audit.list({ principal: 'ann', limit: 100 });
  t.true(records.every(({ decision }) => decision === 'denied'));
  t.is(records.length, 10, 'each is in the audit, past ten a minute as a number');
});

test('who may on some hosts, or some commands, only hears the same of others and of what there is not', async (t) => {
  const { ops, call, release, told } = await served(t);
  const scopes: readonly Partial<PolicyRule>[] = [
    { hosts: ['idc=b'] },
    { commands: ['df'] },
    { commands: ['df'], hosts: ['idc=a'] },
  ];
  for (const scope of scopes) {
    await put(ops, 'some', { ...ann, ...scope });
    for (const ask of ['DELETE calls/ID', 'POST releases/ID/pause']) {
      const id = ask.startsWith('DELETE') ? call : release;
      const answer = await told(ask.replace('ID', id), 'ann');
      t.regex(answer, /^403 .*ERR_DENIED.*for this one, or there is none of this id/);
      t.is(await told(ask.replace('ID', NONE), 'ann'), answer);
    }
  }
});

test('who may on any host, and the operator, are told what there is not', async (t) => {
  const { ops, call, told, asks } = await served(t);
  await put(ops, 'any', ann);
  for (const answer of await asks('ann', { call: NONE, release: NONE })) t.regex(answer, /^404 /);
  t.regex(await told(`DELETE calls/${NONE}`), /^404 /);
  t.is(await told(`DELETE calls/${call}`, 'ann'), '204');
});
