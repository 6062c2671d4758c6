import { createHash } from 'node:crypto';
import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { contentDigest, seededBytes } from '../../bench/origin/content.ts';
import { CodedError } from '../../core/base/error.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import type { Registered, TaskSpec } from '../../core/wire/messages.ts';
import type { SeedState } from '../../supernode/seed/seed-task.ts';
import { Rogue } from '../support/rogue.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { until } from '../support/until.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const never = new AbortController().signal;

async function digestOf(path: string | undefined): Promise<string> {
  const bytes = await readFile(path ?? '');
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

test.serial('small content that the seed evicted is fetched again', async (t) => {
  await using swarm = await TestSwarm.start({ supernode: { quota: 100 * KIB } });
  const host = await swarm.host('host');
  for (const path of ['/a', '/b', '/a', '/b']) {
    swarm.origin.set(path, { content: { seed: path.length, length: 60 * KIB } });
    const done = doneOf(await swarm.download(host, { url: swarm.origin.url(path) }));
    t.is(done.length, 60 * KIB);
  }
});

test.serial(
  'content that the seed evicted is fetched again for a host that asks for it',
  async (t) => {
    await using swarm = await TestSwarm.start({ supernode: { quota: 3 * MIB } });
    const contents = { '/a': { seed: 1, length: 2 * MIB }, '/b': { seed: 2, length: 2 * MIB } };
    for (const [path, content] of Object.entries(contents)) {
      swarm.origin.set(path, { content });
      const first = await swarm.host(`first${path.slice(1)}`);
      doneOf(await swarm.download(first, { url: swarm.origin.url(path), backToSource: false }));
      await first[Symbol.asyncDispose]();
      await until(() => swarm.supernode.table.hosts.size === 0);
    }
    const late = await swarm.host('late');
    const url = swarm.origin.url('/a');
    const done = doneOf(
      await swarm.download(late, { url, timeoutMs: 10_000, backToSource: false }),
    );
    t.is(await digestOf(done.path), await contentDigest(contents['/a']));
    t.is(swarm.origin.stats('/a').bodyBytes, 4 * MIB);
  },
);

test.serial(
  'whoever waits for the same question to the origin gets its answer when the first asker is gone',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 3, length: 2 * MIB };
    const digest = await contentDigest(content);
    swarm.origin.set('/f', { content });
    swarm.origin.set('/mirror', { content, slowHeadMs: 500 });
    const url = swarm.origin.url('/mirror');
    const first = await swarm.host('first');
    doneOf(await swarm.download(first, { url: swarm.origin.url('/f'), digest }));
    const second = await swarm.host('second');
    const third = await swarm.host('third');
    for (const { member } of [second, third]) {
      await member?.client.whenConnected(5_000, { signal: never });
    }
    const gone = swarm.download(second, { url, digest, backToSource: false });
    await until(() => swarm.origin.stats('/mirror').requests === 1);
    const waiting = swarm.download(third, { url, digest, backToSource: false });
    await until(() => swarm.supernode.counts.messages.get('register') === 3);
    await second[Symbol.asyncDispose]();
    await gone;
    t.is(doneOf(await waiting).length, content.length);
  },
);

test.serial('two who ask at the same time with other credentials get one copy', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 4, length: 2 * MIB };
  swarm.origin.set('/f', { content, slowHeadMs: 300, bytesPerSecond: 2 * MIB });
  const url = swarm.origin.url('/f');
  const hosts = [await swarm.host('one'), await swarm.host('other')];
  for (const { member } of hosts) await member?.client.whenConnected(5_000, { signal: never });
  const events = await Promise.all(
    hosts.map(async (host, index) =>
      swarm.download(host, { url, headers: { 'x-user': String(index) }, backToSource: false }),
    ),
  );
  for (const event of events) t.is(doneOf(event).length, content.length);
  t.is(swarm.origin.stats('/f').requests, 2);
  // The second answer was not read.
  t.is((await swarm.supernode.pool.stats()).originBytes, content.length);
});

test.serial(
  'hosts finish the version they began when the origin has another one meanwhile',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const before = { seed: 5, length: 4 * MIB };
    const after = { seed: 6, length: 4 * MIB };
    swarm.origin.set('/f', { content: before, bytesPerSecond: 2 * MIB });
    const url = swarm.origin.url('/f');
    const early = await swarm.host('early');
    const late = await swarm.host('late');
    await late.member?.client.whenConnected(5_000, { signal: never });
    let started = 0;
    const first = swarm.download(
      early,
      { url, timeoutMs: 20_000 },
      { onEvent: ({ type }) => (started += type === 'progress' ? 1 : 0) },
    );
    await until(() => started > 1);
    swarm.origin.set('/f', { content: after, lastModified: 'Wed, 01 May 2024 00:00:00 GMT' });
    // Other credentials: the origin is asked although the former version is just being joined.
    const second = await swarm.download(late, { url, headers: { 'x-user': 'late' } });
    t.is(await digestOf(doneOf(second).path), await contentDigest(after));
    t.is(await digestOf(doneOf(await first).path), await contentDigest(before));
  },
);

for (const ranges of [true, false]) {
  const name = ranges ? 'with ranges' : 'without ranges';
  test.serial(
    `content named by its digest is given to whom another origin ${name} really serves it`,
    async (t) => {
      await using swarm = await TestSwarm.start();
      const content = { seed: 7, length: MIB + 5 };
      const digest = await contentDigest(content);
      swarm.origin.set('/f', { content });
      swarm.origin.set('/mirror', { content, ranges });
      swarm.origin.set('/other', { content: { ...content, seed: 8 }, ranges });
      swarm.origin.set('/longer', { content: { ...content, length: MIB + 6 }, ranges });
      const first = await swarm.host('first');
      doneOf(await swarm.download(first, { url: swarm.origin.url('/f'), digest }));
      const second = await swarm.host('second');
      const from = async (path: string): Promise<unknown> =>
        swarm.download(second, { url: swarm.origin.url(path), digest, backToSource: false });
      t.like(await from('/other'), { type: 'failed', code: 'ERR_DIGEST_MISMATCH' });
      t.like(await from('/longer'), { type: 'failed', code: 'ERR_DIGEST_MISMATCH' });
      t.like(await from('/gone'), { type: 'failed', code: 'ERR_ORIGIN_REFUSED' });
      t.like(await from('/mirror'), { type: 'done', length: content.length });
    },
  );
}

test.serial(
  'whether an origin serves a digest is found out while another one sends it slowly',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const { seeds } = swarm.supernode;
    const content = { seed: 16, length: 4 * MIB };
    const digest = await contentDigest(content);
    swarm.origin.set('/slow', { content, stall: { afterBytes: MIB } });
    swarm.origin.set('/other', { content: { ...content, seed: 17 } });
    swarm.origin.set('/mirror', { content });
    swarm.origin.set('/whole', { content, ranges: false });
    const task = taskIdOf({ url: swarm.origin.url('/slow'), digest });
    const from = async (path: string): Promise<SeedState> => {
      const spec = { url: swarm.origin.url(path), digest };
      return (await seeds.resolve(task, spec, { signal: never })).state;
    };
    t.is(await from('/slow'), 'fetching');
    const refused = await t.throwsAsync(from('/other'));
    t.is(CodedError.from(refused).code, 'ERR_DIGEST_MISMATCH');
    t.deepEqual(await Promise.all([from('/mirror'), from('/whole')]), ['fetching', 'fetching']);
    t.is(swarm.origin.stats('/slow').bodyBytes, MIB);
  },
);

test.serial(
  'an origin that sends something else under a digest gives way to one that has it',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 18, length: 4 * MIB };
    const digest = await contentDigest(content);
    swarm.origin.set('/evil', {
      content: { ...content, seed: 19 },
      stall: { afterBytes: 3 * MIB },
    });
    swarm.origin.set('/f', { content });
    const evil = await swarm.host('evil');
    const host = await swarm.host('host');
    const from = async (engine: typeof host, path: string): Promise<unknown> =>
      swarm.download(engine, { url: swarm.origin.url(path), digest, backToSource: false });
    const running = from(evil, '/evil');
    await until(() => swarm.origin.stats('/evil').bodyBytes === 3 * MIB);
    t.like(await from(host, '/f'), { type: 'done', length: content.length });
    t.like(await running, { type: 'failed', code: 'ERR_DIGEST_MISMATCH' });
  },
);

test.serial(
  'a host that was given something else under a digest gets the content from another origin',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 26, length: 3 * MIB };
    const digest = await contentDigest(content);
    swarm.origin.set('/evil', { content: { ...content, seed: 27 } });
    swarm.origin.set('/longer', { content: { seed: 28, length: 4 * MIB } });
    swarm.origin.set('/f', { content });
    const host = await swarm.host('host');
    const from = async (path: string): Promise<unknown> =>
      swarm.download(host, { url: swarm.origin.url(path), digest, backToSource: false });
    for (const path of ['/evil', '/longer']) {
      t.like(await from(path), { type: 'failed', code: 'ERR_DIGEST_MISMATCH' }, path);
    }
    t.like(await from('/f'), { type: 'done', length: content.length });
  },
);

test.serial(
  'whoever asked for a digest at an origin that had something else has no right to what really has it',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 24, length: 3 * MIB };
    const digest = await contentDigest(content);
    swarm.origin.set('/evil', { content: { ...content, seed: 25 } });
    swarm.origin.set('/f', { content });
    const headers = { 'x-user': 'somebody' };
    swarm.origin.set('/public', { content });
    await using rogue = await Rogue.member(swarm.supernode);
    const control = await rogue.control(`127.0.0.1:${swarm.supernode.meshPort}`);
    const register = async (spec: TaskSpec): Promise<{ task: string; version: string }> => {
      const task = taskIdOf(spec);
      control.say({ type: 'register', id: 1, task, spec });
      const answer = (await control.next('registered')) as unknown as Registered;
      return { task, version: answer.shape.version };
    };
    const allowed = await register({ url: swarm.origin.url('/public') });
    const wanted = await register({ url: swarm.origin.url('/evil'), digest, headers });
    await until(() => swarm.log.some(({ message }) => message === 'seed fetch failed'));
    const host = await swarm.host('host');
    const url = swarm.origin.url('/f');
    t.like(doneOf(await swarm.download(host, { url, digest, headers })), wanted);
    t.true(await control.synced());
    control.heard.length = 0;
    for (const about of [wanted, allowed]) {
      control.say({ type: 'more-parents', ...about, reason: 'test' });
      control.say({ type: 'renew-ticket', ...about });
    }
    // News of one batch: what came of the first comes no later.
    t.like(await control.next('update'), { task: allowed.task });
  },
);

test.serial(
  'what is kept under a digest is not lost to an origin that serves something else',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 20, length: 3 * MIB };
    const digest = await contentDigest(content);
    swarm.origin.set('/f', { content });
    swarm.origin.set('/evil', { content: { ...content, seed: 21 } });
    const host = await swarm.host('host');
    doneOf(await swarm.download(host, { url: swarm.origin.url('/f'), digest }));
    await host[Symbol.asyncDispose]();
    await swarm.supernode[Symbol.asyncDispose]();
    await swarm.startSupernode();
    const evil = await swarm.host('evil');
    const from = async (path: string): Promise<unknown> =>
      swarm.download(evil, { url: swarm.origin.url(path), digest, backToSource: false });
    t.like(await from('/evil'), { type: 'failed', code: 'ERR_DIGEST_MISMATCH' });
    const [stored] = swarm.supernode.store.tasks();
    t.true(stored?.isComplete);
  },
);

test.serial(
  'without a supernode, content kept under a digest is given to whom his URL really serves it',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 22, length: 3 * MIB };
    const digest = await contentDigest(content);
    for (const path of ['/f', '/mirror']) swarm.origin.set(path, { content });
    swarm.origin.set('/whole', { content, ranges: false });
    swarm.origin.set('/evil', { content: { ...content, seed: 23 } });
    swarm.origin.set('/evil-whole', { content: { ...content, seed: 23 }, ranges: false });
    const host = await swarm.host('alone', { supernodes: [] });
    const from = async (path: string): Promise<unknown> =>
      swarm.download(host, { url: swarm.origin.url(path), digest });
    doneOf(await swarm.download(host, { url: swarm.origin.url('/f'), digest }));
    for (const path of ['/evil', '/evil-whole']) {
      t.like(await from(path), { type: 'failed', code: 'ERR_DIGEST_MISMATCH' }, path);
    }
    for (const path of ['/f', '/mirror', '/whole']) {
      t.like(await from(path), { type: 'done', fromOrigin: 0, fromCache: content.length }, path);
    }
    t.is(swarm.origin.stats('/f').rangeRequests, 2);
    t.is(swarm.origin.stats('/mirror').rangeRequests, 3);
  },
);

test.serial(
  'content that is not what its digest says is not kept under that name, whatever the algorithm',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 9, length: MIB };
    const bytes = seededBytes(content.seed, 0, content.length);
    const digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    swarm.origin.set('/evil', { content: { ...content, seed: 10 } });
    swarm.origin.set('/f', { content });
    const host = await swarm.host('host');
    const evil = await swarm.host('evil');
    const from = async (engine: typeof host, path: string): Promise<unknown> =>
      swarm.download(engine, { url: swarm.origin.url(path), digest, backToSource: false });
    // On a slow machine the word of the seed comes when this host has everything, and is about to say so.
    const complete = Promise.withResolvers<void>();
    const told = Promise.withResolvers<void>();
    const update = evil.tasks.onUpdate.bind(evil.tasks);
    evil.tasks.onUpdate = (news) => {
      update(news);
      if (news.failed !== undefined) told.resolve();
    };
    const putTask = evil.pool.putTask.bind(evil.pool);
    evil.pool.putTask = async (task) => {
      await putTask(task);
      if (!task.isComplete) return;
      complete.resolve();
      await told.promise;
    };
    const { pool } = swarm.supernode;
    const compute = pool.digest.bind(pool);
    pool.digest = async (...about) => {
      await complete.promise;
      return compute(...about);
    };
    const refused = await from(evil, '/evil');
    t.like(refused, { type: 'failed', code: 'ERR_DIGEST_MISMATCH' }, JSON.stringify(refused));
    t.like(await from(host, '/f'), { type: 'done', length: content.length });
  },
);

test.serial(
  'what a user in the URL may have is not given to whom the origin was not asked for',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 12, length: 2 * MIB };
    const authorization = `Basic ${Buffer.from('user:secret').toString('base64')}`;
    swarm.origin.set('/f', { content, authorization, bytesPerSecond: MIB });
    const plain = swarm.origin.url('/f');
    const url = plain.replace('//', '//user:secret@');
    const user = await swarm.host('user');
    const stranger = await swarm.host('stranger');
    let received = 0;
    const allowed = swarm.download(
      user,
      { url },
      { onEvent: (event) => (received = event.type === 'progress' ? event.received : received) },
    );
    await until(() => received > 0);
    const refused = await swarm.download(stranger, { url: plain });
    t.like(refused, { type: 'failed', code: 'ERR_ORIGIN_REFUSED' });
    doneOf(await allowed);
    t.false(JSON.stringify(swarm.log).includes('secret'));
  },
);

for (const named of [false, true]) {
  const what = named ? 'content named by its digest' : 'content';
  test.serial(
    `${what} is given to nobody whose own signed URL the origin refuses, and asked for once per URL`,
    async (t) => {
      await using swarm = await TestSwarm.start();
      const content = { seed: 15, length: 3 * MIB };
      const digest = await contentDigest(content);
      const bytesPerSecond = named ? 0 : 2 * MIB;
      swarm.origin.set('/f', { content, queries: ['sig=1', 'sig=2'], bytesPerSecond });
      const [user, other, forger] = [
        await swarm.host('user'),
        await swarm.host('other'),
        await swarm.host('forger'),
      ];
      const by = async (host: typeof user, query: string): Promise<unknown> =>
        swarm.download(host, {
          url: swarm.origin.url(`/f${query}`),
          filteredQueryParams: ['sig'],
          backToSource: false,
          ...(named ? { digest } : {}),
        });
      const requests = (): number => swarm.origin.stats('/f').requests;
      const running = by(user, '?sig=1');
      await until(() => requests() === 1);
      for (const query of ['?sig=3', '', '?sig=1&sig=2']) {
        t.like(await by(forger, query), { type: 'failed', code: 'ERR_ORIGIN_REFUSED' }, query);
      }
      const before = requests();
      t.like(await by(other, '?sig=2'), { type: 'done', length: content.length });
      t.true(requests() > before);
      t.like(await running, { type: 'done', length: content.length });
      t.like(await by(forger, '?sig=3'), { type: 'failed', code: 'ERR_ORIGIN_REFUSED' });
      t.true(swarm.origin.stats('/f').bodyBytes < 2 * content.length);
    },
  );
}

test.serial(
  'a seed whose stored file was edited withdraws what is wrong and fetches it again',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 13, length: 2 * MIB };
    swarm.origin.set('/f', { content });
    const url = swarm.origin.url('/f');
    const first = await swarm.host('first');
    doneOf(await swarm.download(first, { url }));
    await first[Symbol.asyncDispose]();
    const [stored] = swarm.supernode.store.tasks();
    const file = await open(stored?.path ?? '', 'r+');
    await file.write(Buffer.from('altered'), 0, 7, MIB);
    await file.close();
    const second = await swarm.host('second');
    const done = doneOf(
      await swarm.download(second, { url, timeoutMs: 20_000, backToSource: false }),
    );
    t.is(await digestOf(done.path), await contentDigest(content));
  },
);

test.serial(
  'a seed that came back with part of the content has the rest once nobody else has it',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 14, length: 6 * MIB };
    swarm.origin.set('/f', { content, bytesPerSecond: 2 * MIB });
    const url = swarm.origin.url('/f');
    const first = await swarm.host('first');
    let received = 0;
    const running = swarm.download(
      first,
      { url },
      { onEvent: (event) => (received = event.type === 'progress' ? event.received : received) },
    );
    await until(() => received > MIB);
    const { meshPort } = swarm.supernode;
    await swarm.supernode[Symbol.asyncDispose]();
    await rm(join(swarm.directory, 'supernode', 'store'), { recursive: true });
    await swarm.startSupernode({ meshPort });
    doneOf(await running);
    await first[Symbol.asyncDispose]();
    const second = await swarm.host('second');
    const done = doneOf(
      await swarm.download(second, { url, timeoutMs: 20_000, backToSource: false }),
    );
    t.is(await digestOf(done.path), await contentDigest(content));
  },
);

test.serial(
  'a supernode and a host fetch nothing from ports that they were given by the system',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const host = await swarm.host('host');
    const { meshPort, linkPort } = swarm.supernode;
    for (const port of [meshPort, linkPort]) {
      const url = `http://127.0.0.1:${port}/f`;
      const failed = await swarm.download(host, { url, backToSource: false });
      t.like(failed, { type: 'failed', code: 'ERR_ORIGIN_FORBIDDEN' });
    }
    const url = `http://127.0.0.1:${host.pool.linkPort}/f`;
    const failed = await swarm.download(host, { url, pattern: 'source' });
    t.like(failed, { type: 'failed', code: 'ERR_ORIGIN_FORBIDDEN' });
  },
);
