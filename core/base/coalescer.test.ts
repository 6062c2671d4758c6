import test from 'ava';
import { Coalescer } from './coalescer.ts';

const fail = async (): Promise<string> => Promise.reject(new Error('boom'));

const never = new AbortController().signal;

test('Coalescer does work once for all who ask while it is under way, and anew afterwards', async (t) => {
  const coalescer = new Coalescer<number>();
  let runs = 0;
  const gate = Promise.withResolvers<void>();
  const work = async (): Promise<number> => {
    runs += 1;
    await gate.promise;
    return runs;
  };
  const all = Promise.all(
    Array.from({ length: 10 }, async () => coalescer.run('a', work, { signal: never })),
  );
  const other = coalescer.run('b', work, { signal: never });
  gate.resolve();
  t.deepEqual(new Set(await all), new Set([2]));
  await other;
  t.is(runs, 2);
  t.is(await coalescer.run('a', work, { signal: never }), 3);
  t.is(coalescer.size, 0);
});

test('Coalescer gives a failure to all who waited, and forgets it', async (t) => {
  const coalescer = new Coalescer<string>();
  const both = [0, 1].map(async () => coalescer.run('a', fail, { signal: never }));
  for (const one of both) await t.throwsAsync(one, { message: 'boom' });
  t.is(await coalescer.run('a', async () => 'well', { signal: never }), 'well');
});

test('Coalescer goes on while one of its askers stays, and stops the work with the last', async (t) => {
  const unwanted: string[] = [];
  const coalescer = new Coalescer<string>((value) => unwanted.push(value));
  const gate = Promise.withResolvers<string>();
  let workSignal = never;
  const work = async (signal: AbortSignal): Promise<string> => {
    workSignal = signal;
    return gate.promise;
  };
  const [one, two] = [new AbortController(), new AbortController()];
  const first = coalescer.run('a', work, { signal: one.signal });
  const second = coalescer.run('a', work, { signal: two.signal });
  one.abort();
  await t.throwsAsync(first, { name: 'AbortError' });
  t.false(workSignal.aborted);
  two.abort();
  await t.throwsAsync(second, { name: 'AbortError' });
  t.true(workSignal.aborted);
  t.is(await coalescer.run('a', async () => 'fresh', { signal: never }), 'fresh');
  gate.resolve('late');
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(unwanted, ['late']);
});

test('Coalescer does not begin for who has given up already', async (t) => {
  const coalescer = new Coalescer<string>();
  const signal = AbortSignal.abort();
  await t.throwsAsync(coalescer.run('a', fail, { signal }), { name: 'AbortError' });
  t.is(coalescer.size, 0);
});
