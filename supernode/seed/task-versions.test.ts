import test from 'ava';
import { contentOf, fill, PIECE_LENGTH } from '../../core/store/fixtures/content.ts';
import type { StoredTask } from '../../core/store/piece-store.ts';
import { TestSeed } from '../../test/support/seed.ts';
import { TaskVersions } from './task-versions.ts';

const content = { seed: 1, length: 300_000 };
const younger = { content: { ...content, seed: 2 }, lastModified: 'Wed, 01 May 2024 00:00:00 GMT' };
const task = 'a'.repeat(64);

/** Pieces of a version that no seed has taken up. */
async function stored(
  it: TestSeed,
  rest: { readonly validators?: StoredTask['validators']; readonly length?: number },
): Promise<void> {
  const name = { taskId: task, version: 'b'.repeat(16), pieceLength: PIECE_LENGTH };
  const kept = await it.store.create({ ...name, ...rest });
  using _use = kept.acquire();
  await fill(kept, contentOf('x', 3 * PIECE_LENGTH), [0]);
}

test('TaskVersions knows the newest version, and those before it', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content });
  const first = await it.fetch('/f');
  it.origin.set('/f', younger);
  const second = await it.fetch('/f');
  const versions = new TaskVersions(first.stored.taskId, it.store);
  versions.add(first);
  versions.add(second);
  t.deepEqual(versions.seeds(), [first, second]);
  t.is(versions.newest(), second);
  t.is(versions.alive(first.stored.version), first);
  t.deepEqual(versions.heldOf(first.stored.version), { stored: first.stored, seed: first });
  versions.confirm('somebody', first, 5);
  t.is(versions.newest(), first, 'the origin went back to it');
  t.deepEqual(versions.held(), { stored: first.stored, seed: first });
  t.deepEqual(versions.confirmation('somebody'), { version: first.stored.version, atMs: 5 });
  t.is(versions.confirmation('somebody else'), undefined);
  versions.renew();
  t.is(versions.confirmation('somebody'), undefined);
});

test('TaskVersions forgets a version that the store has no more, and a former one that nobody takes', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content });
  const first = await it.fetch('/f');
  it.origin.set('/f', younger);
  const second = await it.fetch('/f');
  const versions = new TaskVersions(first.stored.taskId, it.store);
  for (const seed of [first, second]) versions.add(seed);
  versions.forgetFormer(second);
  t.is(versions.alive(second.stored.version), second, 'the newest is no former one');
  versions.forgetFormer(first);
  t.deepEqual(versions.seeds(), [second]);
  await it.seeds.close();
  await it.store.remove(second.stored);
  t.is(versions.alive(second.stored.version), undefined);
  t.is(versions.newest(), undefined);
});

test('TaskVersions tells of a version that failed, and holds nothing of it', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content: { ...content, length: 3_000_000 }, stall: { afterBytes: 1_000 } });
  const seed = await it.resolve('/f');
  await it.seeds.close();
  await it.store.remove(seed.stored);
  const versions = new TaskVersions(seed.stored.taskId, it.store);
  versions.add(seed);
  t.is(versions.alive(seed.stored.version), seed);
  t.is(versions.newest(), undefined);
  t.is(versions.held(), undefined);
  t.is(versions.heldOf(seed.stored.version), undefined);
});

for (const { title, rest, isHeld } of [
  {
    title: 'with a strong ETag',
    rest: { length: 3_000, validators: { etag: '"a"' } },
    isHeld: true,
  },
  {
    title: 'with a date',
    rest: { length: 3_000, validators: { lastModified: 'x' } },
    isHeld: true,
  },
  {
    title: 'with a weak ETag',
    rest: { length: 3_000, validators: { etag: 'W/"a"' } },
    isHeld: false,
  },
  { title: 'without validators', rest: { length: 3_000 }, isHeld: false },
  { title: 'of unknown length', rest: { validators: { etag: '"a"' } }, isHeld: false },
]) {
  test(`TaskVersions.held() of a stored part ${title} is ${isHeld ? 'what can be continued' : 'nothing'}`, async (t) => {
    await using it = await TestSeed.start();
    await stored(it, rest);
    const versions = new TaskVersions(task, it.store);
    const kept = it.store.find(task);
    t.deepEqual(
      versions.held(),
      isHeld && kept !== undefined ? { stored: kept, seed: undefined } : undefined,
    );
  });
}

test('TaskVersions remembers 64 askers, the last ones', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content });
  const seed = await it.fetch('/f');
  const versions = new TaskVersions(seed.stored.taskId, it.store);
  for (let asker = 0; asker < 65; asker += 1) versions.confirm(`asker ${asker}`, seed, asker);
  t.is(versions.confirmation('asker 0'), undefined);
  t.is(versions.confirmation('asker 1')?.atMs, 1);
  t.is(versions.confirmation('asker 64')?.atMs, 64);
});
