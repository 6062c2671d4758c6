import test from 'ava';
import { verbOf, verbs } from '../../ops/control/verbs.ts';
import { openBench } from '../../test/support/http-api-bench.ts';

test('the API describes itself: every route with what it takes', async (t) => {
  const { call } = await openBench(t);
  const { status, text } = await call('GET', '/api/v1/openapi.json');
  t.is(status, 200);
  const { openapi, paths } = JSON.parse(text) as {
    openapi: string;
    paths: Record<string, Record<string, { requestBody?: unknown; parameters?: object[] }>>;
  };
  t.is(openapi, '3.1.0');
  const expected = ['/healthz', '/metrics', '/api/v1/tasks/{task}', '/api/v1/calls/{id}/events'];
  for (const path of expected) t.truthy(paths[path]?.['get'], path);
  t.regex(JSON.stringify(paths['/api/v1/calls']?.['post']?.requestBody), /"command".*"waitMs"/);
  t.regex(JSON.stringify(paths['/api/v1/calls/{id}']?.['get']?.parameters), /"in":"path"/);
});

/** Of the operator alone, and not for the door: what a supernode had before there was one, and what is open. */
const notOfTheDoor = [
  '/api/v1/openapi.json',
  '/api/v1/tokens',
  '/api/v1/tasks',
  '/api/v1/hosts',
  '/api/v1/limits',
  '/api/v1/warm-ups',
  '/api/v1/hooks/registry',
];

test('the API describes each verb once, and has no route of the door besides', async (t) => {
  const { call } = await openBench(t);
  const { paths } = JSON.parse((await call('GET', '/api/v1/openapi.json')).text) as {
    paths: Record<string, Record<string, Record<string, unknown>>>;
  };
  const described: string[] = [];
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const name = operation['x-verb'];
      const isOld = notOfTheDoor.some((one) => path === one || path.startsWith(`${one}/{`));
      t.is(name === undefined, isOld || !path.startsWith('/api/'), `${method} ${path}`);
      if (typeof name !== 'string') continue;
      const verb = verbOf(name);
      if (verb === undefined) {
        t.fail(`${method} ${path} is of no verb`);
        continue;
      }
      described.push(name);
      t.is(`${method.toUpperCase()} ${path}`, verb.at.replaceAll(/:(\w+)/g, '{$1}'));
      t.is(operation['x-permission'], verb.permission, name);
      t.is(operation['x-risk'], verb.risk, name);
      const text = JSON.stringify([operation['parameters'], operation['requestBody']]);
      for (const field of verb.body === undefined ? Object.keys(verb.schema.properties) : []) {
        t.true(field === verb.content || text.includes(`"${field}"`), `${name}: ${field}`);
      }
    }
  }
  t.deepEqual(described.toSorted(), Object.keys(verbs).toSorted());
});
