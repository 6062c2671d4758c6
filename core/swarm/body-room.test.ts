import { rm } from 'node:fs/promises';
import test from 'ava';
import { openStore, specOf, temporaryFolder } from '../store/fixtures/content.ts';
import { BodyRoom, NO_ROOM } from './body-room.ts';

test('BodyRoom lets pieces be written while there is room for them, and gives back what did not come', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => rm(folder, { recursive: true }));
  await using store = await openStore(folder, { quotaBytes: 3000 });
  const task = await store.create(specOf('body', undefined, { pieceLength: 1000 }));
  using _use = task.acquire();
  const room = new BodyRoom(store, task);
  const mayWrite = (): number => Atomics.load(room.mayWrite, 0);
  t.is(mayWrite(), 0);
  await room.admit(0);
  t.is(mayWrite(), 1);
  await task.markHad(0);
  await room.admit(1);
  await room.admit(2);
  t.is(mayWrite(), 3);
  t.is(room.failure, undefined);

  const other = specOf('other', 1000, { pieceLength: 1000 });
  await t.throwsAsync(
    store.create(other),
    { code: 'ERR_NO_SPACE' },
    'what is admitted is promised',
  );
  await room.admit(3);
  t.is(mayWrite(), NO_ROOM);
  t.is(room.failure?.code, 'ERR_NO_SPACE');
  room[Symbol.dispose]();
  await store.create(other);
});
