import type { TestFn } from 'ava';
import { link, readFile, stat, truncate, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { dataFoldersOn } from '../../test/support/data-folders.ts';
import type { StorageKind } from '../../test/support/data-folders.ts';
import {
  completeTask,
  contentOf,
  fill,
  openStore,
  readAll,
  specOf,
  writePiece,
} from './fixtures/content.ts';

/** The promises of a piece store when somebody edits the files it has given away. */
export function testPieceStoreEdits(test: TestFn, kind: StorageKind): void {
  const { title, folder } = dataFoldersOn(kind);

  test(
    title('an edit of the finished file is noticed, and an edited output is not written to'),
    async (t) => {
      const directory = await folder(t);
      await using store = await openStore(directory);
      const content = contentOf('h', 4000);
      const task = await completeTask(store, 'h', 4000);
      t.is(task.checkUnchanged(), 'same');
      const output = join(directory, '..', 'output');
      await link(task.path, output);
      t.is(task.checkUnchanged(), 'same', 'a hard link is no edit');
      await utimes(task.path, 1, 1);
      t.is(task.checkUnchanged(), 'changed');
      t.deepEqual(await task.rehash(), []);
      t.is(task.checkUnchanged(), 'same', 'touched, but the bytes are right');

      await writePiece(task, 1, Buffer.alloc(4000, 'user'));
      const edited = await readFile(output);
      t.is(task.checkUnchanged(), 'changed');
      t.deepEqual(await task.rehash(), [1]);
      t.deepEqual([...task.pieces.indexes()], [0, 2, 3]);
      await writePiece(task, 1, content);
      await task.markHad(1);
      await task.complete();
      t.deepEqual(await readAll(task), content);
      t.deepEqual(await readFile(output), edited, 'the user keeps what he wrote');
    },
  );

  test(title('an edit while the store is closed makes the task suspect'), async (t) => {
    const directory = await folder(t);
    const store = await openStore(directory);
    const task = await completeTask(store, 'i', 4000);
    await store.close();
    const output = join(directory, '..', 'output');
    await link(task.path, output);
    await truncate(output, 1234);
    await truncate(output, 9999);
    const edited = await readFile(output);

    await using again = await openStore(directory);
    const [suspect] = again.tasks();
    t.deepEqual(
      again.repairs.map((repair) => repair.kind),
      ['file-altered'],
    );
    await suspect?.recover();
    t.deepEqual([...(suspect?.pieces.indexes() ?? [])], [0]);
    if (suspect !== undefined) t.is((await stat(suspect.path)).size, 4000);
    t.deepEqual(await readFile(output), edited);
  });

  test(title('unmark() of a piece in a shared file parts it from the output'), async (t) => {
    const directory = await folder(t);
    await using store = await openStore(directory);
    const content = contentOf('j', 2000);
    const task = await completeTask(store, 'j', 2000);
    const output = join(directory, '..', 'output');
    await link(task.path, output);
    await task.unmark(0);
    await writePiece(task, 0, Buffer.alloc(2000, 'z'));
    t.deepEqual(await readFile(output), content);
    t.is(task.sealed, undefined);
    t.deepEqual([...task.pieces.indexes()], [1]);
  });

  test(title('rehash() un-has what nobody can prove'), async (t) => {
    await using store = await openStore(await folder(t));
    const content = contentOf('o', 3000);
    const task = await store.create(specOf('o', 3000));
    using _use = task.acquire();
    await fill(task, content, [0]);
    const bare = await store.create(specOf('o2', 3000));
    await bare.markHad(1);
    t.deepEqual(await task.rehash(), []);
    t.deepEqual(await bare.rehash(), [1]);
  });
}
