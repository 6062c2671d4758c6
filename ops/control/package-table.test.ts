import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { blobUrl } from '../../core/base/blob-url.ts';
import { ManualClock } from '../../core/base/clock.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import type { PackagePublish, PackageRecord } from './package-record.ts';
import { PackageTable } from './package-table.ts';

const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`;
const web: PackagePublish = { name: 'web', version: '1.0', digest: digestOf('a'), length: 10 };

interface Bench {
  readonly table: PackageTable;
  readonly publish: (request: PackagePublish, blobLength?: number) => Promise<PackageRecord>;
  /** The same rows, read again. */
  readonly again: () => Promise<PackageTable>;
}

async function openBench(t: ExecutionContext): Promise<Bench> {
  const directory = await mkdtemp(join(tmpdir(), 'packages-'));
  const store = await LevelStateStore.openWhenFree(directory, {
    clock: new ManualClock(),
    waitMs: 0,
  });
  t.teardown(async () => {
    await store.close();
    await rm(directory, { recursive: true, force: true });
  });
  const table = await PackageTable.open(store);
  return {
    table,
    publish: async (request, blobLength) => {
      const about = { publishedBy: 'alice', at: 1, blobLength };
      const { changes, expect = [], answer } = await table.publish(request, about);
      await store.commit(changes, { expect });
      return answer();
    },
    again: async () => PackageTable.open(store),
  };
}

test('PackageTable has a version as it was published, for good', async (t) => {
  const { table, publish, again } = await openBench(t);
  const record = { ...web, url: blobUrl(web.digest), publishedBy: 'alice', at: 1 };
  t.deepEqual(await publish(web, 10), record);
  t.deepEqual(await publish(web, 10), record, 'the same is no change');
  await t.throwsAsync(publish({ ...web, digest: digestOf('b') }, 10), {
    code: 'ERR_CONFLICT',
    message: /web 1\.0 is published already/,
  });
  await t.throwsAsync(publish({ ...web, url: 'http://other.example/web.tgz' }), {
    code: 'ERR_CONFLICT',
  });
  t.false(table.refersTo(digestOf('b')));
  for (const some of [table, await again()]) {
    t.deepEqual(await some.find('web', '1.0'), record);
    t.is(await some.find('web', '1'), undefined);
    t.true(some.refersTo(web.digest));
  }
});

test('PackageTable.publish() wants a blob of that length, or a place that all may know', async (t) => {
  const { publish } = await openBench(t);
  await t.throwsAsync(publish(web), { code: 'ERR_NOT_FOUND', message: /no blob sha256:a/ });
  await t.throwsAsync(publish(web, 11), { code: 'ERR_REQUEST', message: /length/ });
  await t.throwsAsync(publish({ ...web, url: blobUrl(digestOf('b')) }, 10), {
    code: 'ERR_REQUEST',
    message: /another blob/,
  });
  await t.throwsAsync(publish({ ...web, url: 'https://me:secret@x.example/' }), {
    code: 'ERR_REQUEST',
    message: /password/,
  });
  await t.throwsAsync(publish({ ...web, url: 'file:///etc/passwd' }), { code: 'ERR_URL' });
  const url = 'https://x.example/web.tgz';
  t.like(await publish({ ...web, url }), { url });
});

test('PackageTable.list() goes through all versions, or those of one package, page by page', async (t) => {
  const { table, publish } = await openBench(t);
  for (const name of ['web', 'web-admin', 'api']) {
    for (const version of ['1.0', '2.0', '1.0-rc1']) await publish({ ...web, name, version }, 10);
  }
  const pages = async (limit: number, name?: string): Promise<string[]> => {
    const found: string[] = [];
    for (let after: string | undefined = ''; after !== undefined;) {
      const page: Awaited<ReturnType<PackageTable['list']>> = await table.list(
        { limit, after },
        name,
      );
      t.true(page.items.length <= limit);
      found.push(...page.items.map((item) => `${item.name}/${item.version}`));
      after = page.next;
    }
    return found;
  };
  const all = await pages(1_000);
  t.is(all.length, 9);
  t.deepEqual(await pages(2), all);
  t.deepEqual(await pages(3), all, 'also when the last page is full');
  t.deepEqual(await pages(2, 'web'), ['web/1.0', 'web/1.0-rc1', 'web/2.0']);
  t.deepEqual(await pages(2, 'none-such'), []);
});
