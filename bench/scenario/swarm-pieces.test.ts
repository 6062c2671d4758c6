import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { seededBytes } from '../origin/content.ts';
import { PieceWatch } from './swarm-pieces.ts';

test('PieceWatch sees which pieces are in which files, holes and all', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-pieces-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const length = 40_000;
  const pieceLength = 8192;
  for (const [name, pieces] of [
    ['all', [0, 1, 2, 3, 4]],
    ['some', [0, 4]],
    ['none', []],
  ] as const) {
    await using file = await open(join(folder, name), 'w');
    await file.truncate(length);
    for (const piece of pieces) {
      const start = piece * pieceLength;
      const end = Math.min(length, start + pieceLength);
      await file.write(seededBytes(1, start, end), 0, end - start, start);
    }
  }
  const files = ['all', 'some', 'none', 'missing'].map((name) => ({
    name,
    path: async () => join(folder, name),
  }));
  const watch = new PieceWatch(files, { length, pieceLength });
  watch.start();
  await watch.stop();
  t.like(watch.spread.at(-1), { rarest: 1, middle: 1, commonest: 2 });
  t.is(watch.curve('all').at(-1)?.[1], length);
  t.is(watch.curve('some').at(-1)?.[1], 2 * pieceLength);
  t.is(watch.curve('none').at(-1)?.[1], 0);
  t.deepEqual(watch.curve('missing'), []);
});
