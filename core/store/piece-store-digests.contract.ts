import type { TestFn } from 'ava';
import { truncate } from 'node:fs/promises';
import { dataFoldersOn, journalKeys } from '../../test/support/data-folders.ts';
import type { StorageKind } from '../../test/support/data-folders.ts';
import { contentOf, entriesOf, openStore, sha256, specOf, writePiece } from './fixtures/content.ts';

/** The promises of a piece store about the digests of pieces, signed and provisional, and the manifest. */
export function testPieceStoreDigests(test: TestFn, kind: StorageKind): void {
  const { title, folder } = dataFoldersOn(kind);

  test(
    title('a signed digest replaces a provisional one, and un-has the piece it contradicts'),
    async (t) => {
      const directory = await folder(t);
      const content = contentOf('p', 4000);
      const entries = entriesOf(content);
      const [first, second, third, fourth] = entries;
      if (!first || !second || !third || !fourth) return t.fail();
      const wrong = { index: 1, digest: sha256(Buffer.from('wrong')) };
      {
        await using store = await openStore(directory);
        const task = await store.create(specOf('p', 4000));
        using _use = task.acquire();
        t.deepEqual(await task.addProvisional('p1', 'host-a', [first, wrong, third]), []);
        t.deepEqual(await task.addProvisional('p2', 'host-b', [second, fourth]), []);
        t.is(task.digestOf(1), wrong.digest, 'the first word holds');
        t.deepEqual(task.originOf(1), { origin: 'provisional', signer: 'host-a' });
        t.deepEqual([...task.missingWithDigest()], [0, 1, 2, 3]);
        for (const piece of [0, 1, 2, 3]) await task.markHad(piece);
        t.deepEqual([...task.missingWithDigest()], []);
        t.deepEqual(await task.addManifest('s1', [first, second]), [1]);
        t.deepEqual([...task.pieces.indexes()], [0, 2, 3]);
        t.true(task.isSigned(0) && task.isSigned(1));
        t.false(task.isSigned(2));
        t.deepEqual(task.manifest(), ['p1', 'p2', 's1']);
      }
      await using store = await openStore(directory);
      const [task] = store.tasks();
      if (task === undefined) return t.fail();
      t.deepEqual([...task.pieces.indexes()], [0, 2, 3]);
      t.is(task.digestOf(1), second.digest);
      t.deepEqual(task.originOf(2), { origin: 'provisional', signer: 'host-a' });
      t.deepEqual(await task.dropProvisional('host-a'), [2]);
      t.deepEqual([...task.pieces.indexes()], [0, 3]);
      t.deepEqual(task.manifest(), ['p2', 's1']);
      t.deepEqual(await task.dropProvisional(), [3]);
      t.deepEqual(task.manifest(), ['s1']);
    },
  );

  test(title('a cell that contradicts itself is refused, and nothing changes'), async (t) => {
    await using store = await openStore(await folder(t));
    const content = contentOf('q', 3000);
    const entries = entriesOf(content);
    const task = await store.create(specOf('q', 3000));
    using _use = task.acquire();
    await task.addManifest('s1', entries.slice(0, 2));
    const wrong = { index: 0, digest: sha256(Buffer.from('wrong')) };
    await t.throwsAsync(task.addManifest('s2', [wrong]), { code: 'ERR_MANIFEST' });
    await t.throwsAsync(task.addManifest('s2', [{ index: 3, digest: wrong.digest }]), {
      code: 'ERR_MANIFEST',
    });
    await t.throwsAsync(task.addManifest('s2', [{ index: 2, digest: 'ab' }]), {
      code: 'ERR_MANIFEST',
    });
    await t.throwsAsync(task.replaceManifest(['f'], [wrong, ...entries.slice(1)]), {
      code: 'ERR_MANIFEST',
    });
    const partial = task.replaceManifest(['f'], entries.slice(1));
    await t.throwsAsync(partial, { code: 'ERR_MANIFEST' }, 'it leaves out what is known');
    t.deepEqual(task.manifest(), ['s1']);
    t.false(task.isManifestFinal);
    t.deepEqual(await task.replaceManifest(['f1', 'f2'], entries), []);
    t.deepEqual(task.manifest(), ['f1', 'f2']);
    t.true(task.isManifestFinal);
    t.is(task.digestOf(2), entries[2]?.digest);
  });

  test(title('manifest() is whole at any moment of a rewrite'), async (t) => {
    await using store = await openStore(await folder(t));
    const content = contentOf('mw', 30_000);
    const entries = entriesOf(content);
    const task = await store.create(specOf('mw', 30_000));
    for (const entry of entries) {
      await task.addManifest(`batch ${entry.index}`, [entry]);
      await task.markHad(entry.index);
    }
    await truncate(task.path, 30_000);
    let isDone = false;
    const completing = task.complete().finally(() => (isDone = true));
    let looks = 0;
    while (!isDone) {
      t.is(task.manifest().length, 30);
      t.is(task.digestOf(29), entries[29]?.digest);
      looks += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await completing;
    t.true(looks > 1);
    t.deepEqual(store.repairs, []);
    t.true(task.isComplete);
  });

  test(
    title(
      'complete() leaves one manifest row, and digests are not held while nobody uses the task',
    ),
    async (t) => {
      const directory = await folder(t);
      const content = contentOf('c', 9000);
      const entries = entriesOf(content);
      {
        await using store = await openStore(directory);
        const task = await store.create(specOf('c', 9000));
        using _use = task.acquire();
        await task.addProvisional('old', 'host-a', entries.slice(0, 1));
        for (const entry of entries) {
          await task.addManifest(`batch ${entry.index}`, [entry]);
          await writePiece(task, entry.index, content);
          await task.markHad(entry.index);
        }
        await task.complete();
      }
      const keys = await journalKeys(directory);
      t.is(keys.length, 2);
      await using store = await openStore(directory);
      const [task] = store.tasks();
      t.deepEqual(
        task?.manifest(),
        entries.map(({ index }) => `batch ${index}`),
      );
      t.is(task?.digestOf(8), entries[8]?.digest);
    },
  );
}
