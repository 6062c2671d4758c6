import test from 'ava';
import { tmpdir } from 'node:os';
import { defaultReserveBytes, freeBytes, noSpace, shortfall } from './capacity.ts';
import type { RoomState } from './capacity.ts';

const room: RoomState = {
  needBytes: 100,
  freeBytes: 1000,
  reserveBytes: 50,
  promisedBytes: 0,
  usedBytes: 0,
  quotaBytes: undefined,
};

test('shortfall() counts the reserve and what was promised to others', (t) => {
  t.deepEqual(shortfall(room), { diskBytes: 0, quotaBytes: 0 });
  t.deepEqual(shortfall({ ...room, freeBytes: 150 }), { diskBytes: 0, quotaBytes: 0 });
  t.deepEqual(shortfall({ ...room, freeBytes: 149 }), { diskBytes: 1, quotaBytes: 0 });
  t.deepEqual(shortfall({ ...room, promisedBytes: 900 }), { diskBytes: 50, quotaBytes: 0 });
});

test('shortfall() counts what is stored against the quota', (t) => {
  const state = { ...room, usedBytes: 300, promisedBytes: 20, quotaBytes: 400 };
  t.deepEqual(shortfall(state), { diskBytes: 0, quotaBytes: 20 });
  t.deepEqual(shortfall({ ...state, quotaBytes: 420 }), { diskBytes: 0, quotaBytes: 0 });
});

test('noSpace() names every number', (t) => {
  const error = noSpace({ ...room, quotaBytes: 5 }, { directory: '/d', evictableBytes: 7 });
  t.is(error.code, 'ERR_NO_SPACE');
  t.deepEqual(error.detail, { ...room, quotaBytes: 5, directory: '/d', evictableBytes: 7 });
});

test('freeBytes() asks the filesystem, and fails with ERR_STORE_IO where there is none', async (t) => {
  t.true((await freeBytes(tmpdir())) > 0);
  await t.throwsAsync(freeBytes('/nonexistent/folder'), { code: 'ERR_STORE_IO' });
});

test('defaultReserveBytes() is 256 MiB, and 5 % of a small filesystem', (t) => {
  t.is(defaultReserveBytes(2 ** 40), 256 * 1024 * 1024);
  t.is(defaultReserveBytes(64 * 1024 * 1024), Math.floor(64 * 1024 * 1024 * 0.05));
  t.is(defaultReserveBytes(Infinity), 256 * 1024 * 1024);
});
