import type { TestFn } from 'ava';
import { readdir, readFile, rm, stat, truncate, writeFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { dataFoldersOn, editJournal, journalKeys } from '../../test/support/data-folders.ts';
import type { StorageKind } from '../../test/support/data-folders.ts';
import { CodedError } from '../base/error.ts';
import {
  completeTask,
  contentOf,
  entriesOf,
  fill,
  openStore,
  readAll,
  specOf,
  writePiece,
} from './fixtures/content.ts';

/** The promises of a piece store about the folder it opens: new, in use, newer, left in a hurry, damaged. */
export function testPieceStoreOpening(test: TestFn, kind: StorageKind): void {
  const { title, folder } = dataFoldersOn(kind);

  test(title('open() makes a folder for its owner only'), async (t) => {
    const directory = await folder(t);
    await using store = await openStore(directory);
    t.is((await stat(directory)).mode & 0o777, 0o700);
    t.is((await stat(join(directory, 'tasks'))).mode & 0o777, 0o700);
    t.is((await stat(join(directory, 'journal'))).mode & 0o777, 0o700);
    t.regex(await readFile(join(directory, 'FORMAT'), 'utf8'), /^2 [0-9a-f]{8}\n$/);
    t.deepEqual(store.repairs, []);
    t.is(store.usedBytes, 0);
  });

  test(title('open() refuses a folder in use with ERR_STORE_LOCKED'), async (t) => {
    const directory = await folder(t);
    await using store = await openStore(directory);
    await completeTask(store, 'a', 1500);
    await t.throwsAsync(openStore(directory), { code: 'ERR_STORE_LOCKED', instanceOf: CodedError });
    await store.close();
    await store.close();
    await using again = await openStore(directory);
    t.is(again.tasks().length, 1);
  });

  test(title('open() refuses a newer folder and touches nothing'), async (t) => {
    const directory = await folder(t);
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'FORMAT'), '3\n');
    await t.throwsAsync(openStore(directory), { code: 'ERR_STORE_NEWER' });
    await t.throwsAsync(stat(join(directory, 'journal')), { code: 'ENOENT' });
    t.is(await readFile(join(directory, 'FORMAT'), 'utf8'), '3\n');
  });

  test(title('another boot after an unclean end hashes before it shows pieces'), async (t) => {
    const directory = await folder(t);
    const content = contentOf('b', 5000);
    const store = await openStore(directory, { bootId: 'boot-1', settleMs: 0 });
    const task = await store.create(specOf('b', 5000));
    const use = task.acquire();
    await fill(task, content);
    use[Symbol.dispose]();
    await store.close();
    // What the page cache had not written: zeros instead of piece 2.
    await writePiece(task, 2, Buffer.alloc(5000));

    await using later = await openStore(directory, { bootId: 'boot-2' });
    const [suspect] = later.tasks();
    if (suspect === undefined) return t.fail();
    t.true(suspect.isSuspect);
    t.is(suspect.pieces.count, 0);
    t.is(suspect.receivedBytes, 0);
    t.is(later.usedBytes, 5000, 'it still counts against the quota');
    await t.throwsAsync(readAll(suspect), { code: 'ERR_STORE_IO' });
    await Promise.all([suspect.recover(), suspect.recover()]);
    t.deepEqual([...suspect.pieces.indexes()], [0, 1, 3, 4]);
    t.false(suspect.isSuspect);
    t.is(suspect.sealed, undefined);
    await later.close();

    await using third = await openStore(directory, { bootId: 'boot-3' });
    const [safe] = third.tasks();
    t.false(safe?.isSuspect, 'what was hashed, and closed well, is not hashed again');
    t.is(safe?.pieces.count, 4);
  });

  test(
    title('the same boot trusts what was marked, and so does another after a clean close'),
    async (t) => {
      const directory = await folder(t);
      const store = await openStore(directory, { bootId: 'boot-1', settleMs: 0 });
      await completeTask(store, 'd', 3000);
      await store.close();
      const same = await openStore(directory, { bootId: 'boot-1' });
      t.true(same.tasks()[0]?.isComplete);
      await same.close();
      await using other = await openStore(directory, { bootId: 'boot-2' });
      t.true(other.tasks()[0]?.isComplete);
      t.deepEqual(other.repairs, []);
    },
  );

  test(title('open() repairs missing, short and orphan files'), async (t) => {
    const directory = await folder(t);
    const store = await openStore(directory);
    const missing = await completeTask(store, 'missing', 3000);
    const short = await completeTask(store, 'short', 3000);
    const whole = await completeTask(store, 'whole', 3000);
    await store.close();
    await rm(missing.path);
    await truncate(short.path, 1500);
    const orphan = whole.path.replace(whole.version, '0123456789abcdef');
    await writeFile(orphan, 'orphan');
    const foreign = join(directory, 'tasks', 'notes.txt');
    await writeFile(foreign, 'not ours');

    await using again = await openStore(directory);
    const kinds = again.repairs.map(({ kind: repair, pieces }) => `${repair} ${pieces}`);
    t.deepEqual(kinds.toSorted(), ['file-missing 3', 'file-orphan 0', 'file-short 2']);
    t.deepEqual([...(again.find(missing.taskId)?.pieces.indexes() ?? [])], []);
    const shortened = again.find(short.taskId);
    t.true(shortened?.isSuspect, 'who cut it may have done more to it');
    await shortened?.recover();
    t.deepEqual([...(shortened?.pieces.indexes() ?? [])], [0]);
    t.true(again.find(whole.taskId)?.isComplete);
    await t.throwsAsync(stat(missing.path), { code: 'ENOENT' }, 'until somebody wants it again');
    t.is((await stat(short.path)).size, 3000);
    await t.throwsAsync(stat(orphan), { code: 'ENOENT' });
    t.is(await readFile(foreign, 'utf8'), 'not ours');
    await again.close();
    await using afterwards = await openStore(directory);
    t.deepEqual(afterwards.repairs, [], 'told of once');
    const refilled = await afterwards.create(specOf('missing', 3000));
    t.deepEqual([...refilled.missingWithDigest()], [0, 1, 2], 'the manifest was kept');
    t.is((await stat(missing.path)).size, 3000);
    await fill(refilled, contentOf('missing', 3000));
    t.true(refilled.isComplete);
    await afterwards.close();
    await using third = await openStore(directory);
    t.deepEqual(third.repairs, [], 'repaired once and for all');
  });

  test(title('open() drops malformed rows and keeps the others'), async (t) => {
    const directory = await folder(t);
    const store = await openStore(directory);
    const good = await completeTask(store, 'y1', 2000);
    const bad = await completeTask(store, 'y2', 2000);
    await store.close();
    const goodKey = `manifest/${good.name}/0000000000`;
    await editJournal(directory, async (journal) => {
      await journal.put(`task/${bad.name}`, '{"v":1,"taskId":');
      await journal.put('task/../../etc', '{}');
      await journal.put('manifest/nonsense', '{}');
    });
    const again = await openStore(directory);
    t.deepEqual(again.repairs.map(({ kind: repair }) => repair).toSorted(), [
      'file-orphan',
      'row-malformed',
      'row-malformed',
      'row-orphan',
      'row-orphan',
    ]);
    t.is(again.find(bad.taskId), undefined);
    t.true(again.find(good.taskId)?.isComplete);
    await again.close();
    t.deepEqual(await journalKeys(directory), [goodKey, `task/${good.name}`]);
  });

  test(title('a malformed manifest row takes the proof of its pieces with it'), async (t) => {
    const directory = await folder(t);
    const store = await openStore(directory);
    const content = contentOf('z', 3000);
    const entries = entriesOf(content);
    const task = await store.create(specOf('z', 3000));
    await task.addManifest('s1', entries.slice(0, 1));
    await task.addManifest('s2', entries.slice(1));
    for (const piece of [0, 1]) await writePiece(task, piece, content);
    await task.markHad(0);
    await task.markHad(1);
    await store.close();
    await editJournal(directory, (journal) =>
      journal.put(`manifest/${task.name}/0000000001`, '{"v":1,"batches":[{}]}'),
    );
    const again = await openStore(directory);
    const [found] = again.tasks();
    if (found === undefined) return t.fail();
    t.is(found.digestOf(1), undefined);
    t.is(found.digestOf(0), entries[0]?.digest);
    await found.setWholeDigest('sha256:00');
    t.deepEqual(
      again.repairs.map(({ kind: repair }) => repair),
      ['row-malformed'],
    );
    await again.close();
    await using third = await openStore(directory);
    t.deepEqual([...(third.tasks()[0]?.pieces.indexes() ?? [])], [0]);
    t.deepEqual(third.tasks()[0]?.manifest(), ['s1']);
  });

  test(title('open() survives a damaged journal'), async (t) => {
    const directory = await folder(t);
    const store = await openStore(directory);
    await completeTask(store, 'dj', 2000);
    await store.close();
    await writeFile(join(directory, 'journal', 'CURRENT'), 'garbage');
    await using again = await openStore(directory);
    t.is(again.repairs[0]?.kind, 'journal-damaged');
    t.true(again.tasks()[0]?.isComplete, 'the rows could be read from its other files');
    await t.notThrowsAsync(completeTask(again, 'dj', 2000));
  });

  test(title('open() survives tables that were cut, at any length'), async (t) => {
    const directory = await folder(t);
    const journal = join(directory, 'journal');
    await using first = await openStore(directory);
    await completeTask(first, 'ct', 2000);
    await first.close();
    for (const share of [0, 0.3, 0.6, 0.9]) {
      // Opened once more, so that the rows are in tables.
      await (await openStore(directory)).close();
      for (const name of await readdir(journal)) {
        if (!name.endsWith('.ldb')) continue;
        const path = join(journal, name);
        await truncate(path, Math.floor((await stat(path)).size * share));
      }
      await using store = await openStore(directory);
      t.is(store.repairs[0]?.kind, 'journal-damaged', `${share}`);
      const task = await completeTask(store, 'ct', 2000);
      t.deepEqual(await readAll(task), contentOf('ct', 2000));
    }
  });

  test(title('open() cuts a file that is longer than its content, had or not'), async (t) => {
    const directory = await folder(t);
    const store = await openStore(directory);
    const none = await store.create(specOf('none', 2000));
    const some = await store.create(specOf('some', 2000));
    const content = contentOf('some', 2000);
    await fill(some, content, [1]);
    await store.close();
    for (const { path } of [none, some]) await writeFile(path, 'more', { flag: 'a' });
    await using again = await openStore(directory);
    for (const seed of ['none', 'some']) {
      const task = await again.create(specOf(seed, 2000));
      if (task.isSuspect) await task.recover();
      await fill(task, contentOf(seed, 2000));
      t.true(task.isComplete, seed);
      t.deepEqual(await readAll(task), contentOf(seed, 2000));
    }
  });
}
