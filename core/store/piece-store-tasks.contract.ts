import type { TestFn } from 'ava';
import { stat } from 'node:fs/promises';
import { dataFoldersOn } from '../../test/support/data-folders.ts';
import type { StorageKind } from '../../test/support/data-folders.ts';
import { ManualClock } from '../base/clock.ts';
import {
  completeTask,
  contentOf,
  entriesOf,
  fill,
  openStore,
  pieceOf,
  PIECE_LENGTH,
  readAll,
  sha256,
  specOf,
  writePiece,
} from './fixtures/content.ts';

/** The promises of a piece store about its tasks: what they are, what they have, and that they are there again. */
export function testPieceStoreTasks(test: TestFn, kind: StorageKind): void {
  const { title, folder } = dataFoldersOn(kind);

  test(title('what was marked is there again after close() and open()'), async (t) => {
    const directory = await folder(t);
    const content = contentOf('x', 4321);
    const validators = { etag: '"v1"', lastModified: 'Thu, 01 Jan 2026 00:00:00 GMT' };
    const spec = specOf('x', 4321, { url: 'http://o/x', scope: 'o', isPrivate: true, validators });
    {
      await using store = await openStore(directory);
      const task = await store.create(spec);
      using _use = task.acquire();
      await fill(task, content, [0, 4]);
      t.is(task.receivedBytes, PIECE_LENGTH + 321);
      await task.setWholeDigest(`sha256:${sha256(content)}`);
    }
    await using store = await openStore(directory);
    const task = store.find(spec.taskId);
    t.truthy(task);
    if (task === undefined) return;
    t.deepEqual([...task.pieces.indexes()], [0, 4]);
    t.is(task.pieceCount, 5);
    t.is(task.receivedBytes, PIECE_LENGTH + 321);
    t.is(task.wholeDigest, `sha256:${sha256(content)}`);
    t.is(task.url, 'http://o/x');
    t.is(task.scope, 'o');
    t.true(task.isPrivate);
    t.deepEqual(task.validators, validators);
    t.deepEqual(task.manifest(), [`batch of ${task.name}`]);
    t.is(task.digestOf(3), sha256(pieceOf(content, 3)));
    t.false(task.isComplete);
    await fill(task, content);
    t.true(task.isComplete);
    t.deepEqual(await readAll(task), content);
    t.deepEqual(store.repairs, []);
  });

  test(
    title('markHad() sets the bit only once it is journalled, for all who ask at once'),
    async (t) => {
      const directory = await folder(t);
      await using store = await openStore(directory);
      const content = contentOf('m', 64_000);
      const task = await store.create(specOf('m', 64_000));
      using _use = task.acquire();
      await task.addManifest('b', entriesOf(content));
      const marks: Promise<void>[] = [];
      for (let piece = 0; piece < 64; piece += 1) {
        await writePiece(task, piece, content);
        marks.push(task.markHad(piece), task.markHad(piece));
        if (piece === 0) t.false(task.pieces.has(0));
      }
      await Promise.all(marks);
      t.true(task.pieces.isFull);
      t.true(task.pieces.bytes.buffer instanceof SharedArrayBuffer);
      await t.throwsAsync(task.markHad(64), { instanceOf: RangeError });
      await t.throwsAsync(task.markHad(-1), { instanceOf: RangeError });
      await t.throwsAsync(task.markHad(1.5), { instanceOf: RangeError });
    },
  );

  test(title('unmark() during markHad() wins'), async (t) => {
    const directory = await folder(t);
    {
      await using store = await openStore(directory);
      const task = await store.create(specOf('u', 3000));
      using _use = task.acquire();
      const marking = task.markHad(1);
      const unmarking = task.unmark(1);
      await Promise.all([marking, unmarking, task.markHad(2)]);
      t.deepEqual([...task.pieces.indexes()], [2]);
    }
    await using store = await openStore(directory);
    t.deepEqual([...(store.tasks()[0]?.pieces.indexes() ?? [])], [2]);
  });

  test(
    title('find() without version gives the newest, also when the clock goes back'),
    async (t) => {
      const directory = await folder(t);
      const clock = new ManualClock();
      const first = specOf('v', 10);
      const second = { ...first, version: 'b'.repeat(16) };
      {
        await using store = await openStore(directory, { clock });
        const old = await store.create(first);
        clock.jump(-1_000_000);
        const newer = await store.create(second);
        t.is(store.find(first.taskId), newer);
        t.is(store.find(first.taskId, first.version), old);
        t.is(store.find(first.taskId, 'c'.repeat(16)), undefined);
        t.is(store.find('d'.repeat(64)), undefined);
        t.is(await store.create(second), newer);
      }
      await using store = await openStore(directory, { clock });
      t.is(store.find(first.taskId)?.version, second.version);
    },
  );

  test(title('create() refuses another shape of the same version'), async (t) => {
    await using store = await openStore(await folder(t));
    const spec = specOf('s', 5000);
    await store.create(spec);
    const other = store.create({ ...spec, pieceLength: 2000 });
    await t.throwsAsync(other, { code: 'ERR_MANIFEST' });
    await t.throwsAsync(store.create({ ...spec, length: 5001 }), { code: 'ERR_MANIFEST' });
    const bad = store.create({ ...spec, taskId: '../../etc/passwd' });
    await t.throwsAsync(bad, { instanceOf: RangeError });
    const huge = { ...spec, version: 'e'.repeat(16), pieceLength: 1, length: 2 ** 40 };
    await t.throwsAsync(store.create(huge), { code: 'ERR_MANIFEST' });
  });

  test(
    title('content of unknown length gets its length at the end, over the same memory'),
    async (t) => {
      const directory = await folder(t);
      const content = contentOf('n', 2500);
      const spec = specOf('n', undefined);
      {
        await using store = await openStore(directory);
        const task = await store.create(spec);
        using _use = task.acquire();
        const shared = task.pieces.bytes.buffer;
        await fill(task, content);
        t.is(task.pieceCount, undefined);
        t.false(task.isComplete);
        await t.throwsAsync(task.markHad(70_000), { code: 'ERR_NO_SPACE' });
        await task.setLength(2500);
        await t.throwsAsync(task.setLength(2600), { code: 'ERR_MANIFEST' });
        t.is(task.pieces.bytes.buffer, shared);
        t.is(task.pieces.length, 3);
        t.true(task.isComplete);
        t.is(task.receivedBytes, 2500);
        await task.complete();
      }
      await using store = await openStore(directory);
      const task = store.find(spec.taskId);
      t.true(task?.isComplete);
      if (task !== undefined) t.deepEqual(await readAll(task), content);
    },
  );

  test(title('content of unknown length survives a stop before its end'), async (t) => {
    const directory = await folder(t);
    const content = contentOf('k', 2500);
    {
      await using store = await openStore(directory);
      const task = await store.create(specOf('k', undefined));
      using _use = task.acquire();
      await fill(task, content);
    }
    await using store = await openStore(directory);
    const [task] = store.tasks();
    t.true(task?.isSuspect, 'the last piece may be half of one');
    await task?.recover();
    t.deepEqual([...(task?.pieces.indexes() ?? [])], [0, 1, 2]);
    await task?.setLength(2500);
    t.true(task?.isComplete);
  });

  test(title('empty content is complete at once'), async (t) => {
    await using store = await openStore(await folder(t));
    const task = await store.create(specOf('e', 0));
    t.true(task.isComplete);
    await task.complete();
    t.deepEqual(await readAll(task), Buffer.alloc(0));
    t.deepEqual(await task.rehash(), []);
  });

  test(title('read() gives verified bytes only'), async (t) => {
    await using store = await openStore(await folder(t));
    const content = contentOf('r', 5000);
    const task = await store.create(specOf('r', 5000));
    using _use = task.acquire();
    await fill(task, content, [0, 1, 3]);
    t.deepEqual(await readAll(task, { start: 10, end: 1999 }), content.subarray(10, 1999));
    t.deepEqual(await readAll(task, { start: 3999, end: 3999 }), Buffer.alloc(0));
    await t.throwsAsync(readAll(task, { start: 1999, end: 2001 }), { code: 'ERR_STORE_IO' });
    await t.throwsAsync(readAll(task, { start: 0, end: 5001 }), { instanceOf: RangeError });
    const aborted = AbortSignal.abort();
    const reading = task.read({ start: 0, end: 1000 }, { signal: aborted }).next();
    await t.throwsAsync(reading, { code: 'ERR_INTERRUPTED' });
  });

  test(title('remove() takes the task away even while it is used'), async (t) => {
    const directory = await folder(t);
    await using store = await openStore(directory);
    const task = await completeTask(store, 'x1', 2000);
    using _use = task.acquire();
    await store.remove(task);
    await store.remove(task);
    t.is(store.find(task.taskId), undefined);
    await t.throwsAsync(task.setWholeDigest('sha256:00'), { code: 'ERR_NOT_FOUND' });
    const anew = await store.create(specOf('x1', 2000));
    t.not(anew, task);
    t.is(anew.pieces.count, 0);
    t.is((await stat(anew.path)).size, 2000);
  });

  test(title('touch() is journalled at most once a minute, and at the end'), async (t) => {
    const directory = await folder(t);
    const clock = new ManualClock();
    const store = await openStore(directory, { clock });
    const task = await completeTask(store, 'to', 10);
    clock.advance(59_000);
    task.touch();
    const accessed = clock.now();
    await store.close();
    await using again = await openStore(directory, { clock });
    t.is(again.tasks()[0]?.accessedMs, accessed);
  });
}
