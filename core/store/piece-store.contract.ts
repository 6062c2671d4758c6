import type { TestFn } from 'ava';
import { Level } from 'level';
import {
  link,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
  mkdir,
} from 'node:fs/promises';
import { join } from 'node:path';
import { ManualClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import {
  completeTask,
  contentOf,
  entriesOf,
  fill,
  openStore,
  pieceOf,
  PIECE_LENGTH,
  readAll,
  removeFolder,
  sha256,
  specOf,
  temporaryFolder,
  writePiece,
} from './fixtures/content.ts';

/** What a kind of storage promises. */
export interface StorageKind {
  readonly name: string;
  /** The folder to make data folders in. */
  readonly parent: string | undefined;
}

/** The promises of a piece store, for a data folder on any kind of storage. */
export function testPieceStore(test: TestFn, kind: StorageKind): void {
  const title = (text: string): string => `PieceStore on ${kind.name}: ${text}`;
  const folder = async (t: { teardown(fn: () => Promise<void>): void }): Promise<string> => {
    const directory = await temporaryFolder(kind.parent);
    t.teardown(() => removeFolder(directory));
    return join(directory, 'data');
  };

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

  test(
    title('create() evicts the least recently used for the quota, never what is in use'),
    async (t) => {
      const clock = new ManualClock();
      await using store = await openStore(await folder(t), { clock, quotaBytes: 10_000 });
      const oldest = await completeTask(store, 'q1', 3000);
      clock.advance(1000);
      const middle = await completeTask(store, 'q2', 3000);
      clock.advance(1000);
      await completeTask(store, 'q3', 3000);
      clock.advance(1000);
      const use = oldest.acquire();
      const fresh = await store.create(specOf('q4', 4000));
      t.is(store.find(middle.taskId), undefined);
      t.is(store.find(oldest.taskId), oldest);
      await t.throwsAsync(stat(middle.path), { code: 'ENOENT' });
      t.throws(() => middle.acquire(), { code: 'ERR_NOT_FOUND' });
      await t.throwsAsync(middle.unmark(0), { code: 'ERR_NOT_FOUND' });
      using _freshUse = fresh.acquire();
      const error = await t.throwsAsync<CodedError>(store.create(specOf('q5', 5000)), {
        code: 'ERR_NO_SPACE',
      });
      t.like(error?.detail, {
        needBytes: 5000,
        quotaBytes: 10_000,
        usedBytes: 6000,
        promisedBytes: 4000,
        evictableBytes: 3000,
      });
      t.is(store.tasks().length, 3, 'nothing is thrown away in vain');
      use[Symbol.dispose]();
      await t.throwsAsync(store.create(specOf('q6', 10_001)), { code: 'ERR_NO_SPACE' });
    },
  );

  test(title('grow() keeps room for pieces on their way of unknown length'), async (t) => {
    await using store = await openStore(await folder(t), { quotaBytes: 10_000 });
    const task = await store.create(specOf('g1', undefined));
    using _use = task.acquire();
    const hold = await store.grow(task, [0, 1, 2, 3]);
    const error = { code: 'ERR_NO_SPACE' } as const;
    await t.throwsAsync(store.create(specOf('g2', 6001)), error);
    const other = await store.create(specOf('g2', 6000));
    await t.throwsAsync(store.grow(task, [4]), error);
    using _again = await store.grow(task, [3]);
    hold[Symbol.dispose]();
    using _next = await store.grow(task, [0, 1, 2]);
    await Promise.all([0, 1, 2, 3].map(async (piece) => task.markHad(piece)));
    await t.throwsAsync(store.grow(task, [4]), error, 'what was had and is held counts once');
    await store.remove(other);
    using _more = await store.grow(task, [4, 5, 6, 7, 8, 9]);
    await t.throwsAsync(store.grow(task, [10]), error);
    t.is(store.usedBytes, 4000);
    await task.setLength(4000);
    using _whole = await store.grow(task, [10]);
    await store.create(specOf('g3', 6000));
  });

  test(title('grow() looks at all of the rest when the length comes while it looks'), async (t) => {
    await using store = await openStore(await folder(t), { quotaBytes: 5000 });
    const task = await store.create(specOf('g4', undefined));
    using _use = task.acquire();
    using _hold = await store.grow(task, [0, 1, 2]);
    const growing = store.grow(task, [3, 4]);
    // It has begun, and asks the disk.
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    await task.setLength(6000);
    await t.throwsAsync(growing, { code: 'ERR_NO_SPACE' });
  });

  test(
    title('create() keeps the reserve, and does not make a task for which the disk is too small'),
    async (t) => {
      const directory = await folder(t);
      await using store = await openStore(directory, { reserveBytes: 2 ** 52 });
      const error = await t.throwsAsync<CodedError>(store.create(specOf('r1', 1)), {
        code: 'ERR_NO_SPACE',
      });
      t.is(error?.detail['reserveBytes'], 2 ** 52);
      t.true(Number(error?.detail['freeBytes']) > 0);
      t.deepEqual(store.tasks(), []);
      t.false(await store.makeRoom(2 ** 52));
      t.true(await store.makeRoom(1));
    },
  );

  test(title('create() protects what it made until it is first used'), async (t) => {
    const clock = new ManualClock();
    await using store = await openStore(await folder(t), { clock, quotaBytes: 5000 });
    await store.create(specOf('w1', 4000));
    await t.throwsAsync(store.create(specOf('w2', 4000)), { code: 'ERR_NO_SPACE' });
    clock.advance(10_000);
    await t.notThrowsAsync(store.create(specOf('w2', 4000)), 'but not for ever');
  });

  test(title('maxTasks bounds the number of tasks'), async (t) => {
    const clock = new ManualClock();
    await using store = await openStore(await folder(t), { clock, maxTasks: 2 });
    for (const seed of ['t1', 't2', 't3']) {
      await completeTask(store, seed, 10);
      clock.advance(10);
    }
    t.deepEqual(
      store.tasks().map(({ taskId }) => taskId),
      [specOf('t2', 0).taskId, specOf('t3', 0).taskId],
    );
  });

  test(
    title('sweep() removes what is expired or stale, and goes down to the low watermark'),
    async (t) => {
      const directory = await folder(t);
      const clock = new ManualClock();
      const store = await openStore(directory, { clock, quotaBytes: 10_500, ttlMs: 60_000 });
      await completeTask(store, 's1', 1000);
      clock.advance(61_000);
      const stale = await store.create({ ...specOf('s2', 1000), version: 'a'.repeat(16) });
      const used = await store.create({ ...specOf('s3', 1000), version: 'a'.repeat(16) });
      using _use = used.acquire();
      stale.acquire()[Symbol.dispose]();
      clock.advance(10);
      await completeTask(store, 's2', 1000);
      clock.advance(10);
      await completeTask(store, 's3', 1000);
      t.deepEqual(await store.sweep(), { removed: 2, bytes: 1000 });
      t.deepEqual(await store.sweep(), { removed: 0, bytes: 0 });
      for (const seed of ['s4', 's5', 's6']) {
        clock.advance(10);
        await completeTask(store, seed, 2500);
      }
      t.deepEqual(await store.sweep(), { removed: 2, bytes: 2000 });
      t.is(store.usedBytes, 7500);
      t.is(store.find(used.taskId, used.version), used);
      await store.close();
      await t.throwsAsync(store.sweep(), { code: 'ERR_STORE_IO' });
    },
  );

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

  test(title('what is kept is not evicted, across restarts, until its time is over'), async (t) => {
    const directory = await folder(t);
    const clock = new ManualClock();
    const options = { clock, quotaBytes: 10_000, ttlMs: 60_000 };
    {
      await using store = await openStore(directory, options);
      const task = await completeTask(store, 'kept', 4_000);
      await store.keep(task, 3_600_000);
      t.is(store.keptBytes, 4_000);
    }
    await using store = await openStore(directory, options);
    const find = (seed: string): unknown => store.find(specOf(seed, 0).taskId);
    clock.advance(600_000);
    await store.sweep();
    t.truthy(find('kept'), 'longer unused than the time for others');
    await completeTask(store, 'a', 5_000);
    clock.advance(20_000);
    await completeTask(store, 'b', 5_000);
    t.falsy(find('a'), 'what was used later gave way');
    t.truthy(find('kept'));
    await t.throwsAsync(store.create(specOf('too big', 7_000)), { code: 'ERR_NO_SPACE' });
    clock.advance(3_600_000);
    t.is(store.keptBytes, 0);
    await completeTask(store, 'c', 9_000);
    t.falsy(find('kept'), 'its time was over');
  });

  test(
    title('keep() has a bound, says so with the numbers, and ends when it is told to'),
    async (t) => {
      const directory = await folder(t);
      const clock = new ManualClock();
      await using store = await openStore(directory, { clock, quotaBytes: 10_000, maxTasks: 6 });
      const [a, b] = [await completeTask(store, 'a', 3_000), await completeTask(store, 'b', 3_000)];
      const minute = 60_000;
      await store.keep(a, minute);
      await store.keep(a, minute + 1);
      t.is(a.keptUntilMs, clock.now() + minute + 1);
      const error = await t.throwsAsync<CodedError>(store.keep(b, minute), {
        code: 'ERR_NO_SPACE',
      });
      t.like(error?.detail, { needBytes: 3_000, keptBytes: 3_000, mostBytes: 5_000 });
      t.is(b.keptUntilMs, undefined);
      await store.keep(a, undefined);
      t.is(store.keptBytes, 0);
      await store.keep(b, minute);
      await store.remove(b);
      t.is(store.keptBytes, 0);
      await t.throwsAsync(store.keep(b, minute), { code: 'ERR_NOT_FOUND' });
      for (const seed of ['1', '2', '3'])
        await store.keep(await completeTask(store, seed, 1), minute);
      await t.throwsAsync(store.keep(a, minute), { code: 'ERR_NO_SPACE' }, 'half of the tasks');
    },
  );
}

async function editJournal(
  directory: string,
  edit: (journal: Level) => Promise<void>,
): Promise<void> {
  const journal = new Level(join(directory, 'journal'));
  await edit(journal);
  await journal.close();
}

async function journalKeys(directory: string): Promise<string[]> {
  let keys: string[] = [];
  await editJournal(directory, async (journal) => {
    keys = await journal.keys().all();
  });
  return keys;
}
