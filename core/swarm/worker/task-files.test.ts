import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { TransferTask } from '../transfer-messages.ts';
import { PieceWriter, TaskFiles, countOf, hasPiece, lengthOfPiece } from './task-files.ts';

const PIECE = 4;

async function task(
  t: ExecutionContext,
  options: { length?: number } = { length: 10 },
): Promise<{ files: TaskFiles; known: TransferTask; path: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-files-'));
  const path = join(folder, 'data');
  await writeFile(path, '..........');
  const files = new TaskFiles();
  t.teardown(async () => {
    files.close();
    await rm(folder, { recursive: true });
  });
  const { length } = options;
  const known: TransferTask = {
    key: 'task/version',
    task: 'task',
    version: 'version',
    path,
    pieceLength: PIECE,
    length,
    pieces: new Uint8Array(new SharedArrayBuffer(1)),
    capacity: 8,
  };
  files.put(known);
  return { files, known, path };
}

test('PieceWriter writes a piece at its place and tells its digest', async (t) => {
  const { files, known, path } = await task(t);
  const writer = new PieceWriter(files, known, 1);
  writer.write(Buffer.from('ab'));
  writer.write(Buffer.from('cd'));
  t.is(writer.digest(), createHash('sha256').update('abcd').digest('hex'));
  t.is(await readFile(path, 'utf8'), '....abcd..');
});

test('PieceWriter leaves a verified piece as it is, also when it became so in the middle', async (t) => {
  const { files, known, path } = await task(t);
  known.pieces[0] = 0x80;
  const late = new PieceWriter(files, known, 0);
  late.write(Buffer.from('EVIL'));
  const racing = new PieceWriter(files, known, 1);
  racing.write(Buffer.from('ab'));
  known.pieces[0] = 0xc0;
  racing.write(Buffer.from('XX'));
  t.is(await readFile(path, 'utf8'), '....ab....');
  t.is(late.digest(), createHash('sha256').update('EVIL').digest('hex'));
});

test('PieceWriter refuses to write for a task that was dropped', async (t) => {
  const { files, known, path } = await task(t);
  const writer = new PieceWriter(files, known, 0);
  files.drop(known.key);
  t.throws(() => writer.write(Buffer.from('abcd')), { code: 'ERR_NOT_FOUND' });
  t.is(await readFile(path, 'utf8'), '..........');
});

test('hasPiece() and lengthOfPiece() end with the content', async (t) => {
  const { known } = await task(t);
  known.pieces[0] = 0xff;
  t.is(countOf(known), 3);
  t.true(hasPiece(known, 2));
  t.false(hasPiece(known, 3));
  t.false(hasPiece(known, -1));
  t.is(lengthOfPiece(known, 2), 2);
});

test('hasPiece() knows of every piece while the length is unknown', async (t) => {
  const { known } = await task(t, {});
  known.pieces[0] = 0x01;
  t.is(countOf(known), undefined);
  t.true(hasPiece(known, 7));
  t.is(lengthOfPiece(known, 7), PIECE);
});

test('TaskFiles.isAltered() compares with what was sealed', async (t) => {
  const { files, known, path } = await task(t);
  t.false(files.isAltered(known));
  t.true(files.isAltered({ ...known, sealed: { mtimeMs: 1, size: 10 } }));
  const { stat } = await import('node:fs/promises');
  const { mtimeMs, size } = await stat(path);
  t.false(files.isAltered({ ...known, sealed: { mtimeMs, size } }));
});
