import test from 'ava';
import * as fc from 'fast-check';
import { hexId } from './fixtures/content.ts';
import {
  bitCapacity,
  bitsOfRow,
  encodeBatches,
  encodeTaskRow,
  manifestKey,
  MAX_PIECES,
  parseBatches,
  parseManifestKey,
  parseTaskRow,
  taskKey,
  taskName,
} from './task-row.ts';
import type { StoredBatch, TaskRow } from './task-row.ts';
import { withSum } from './row-sum.ts';
import { withNextRow } from './row-runs.ts';
import type { RowRuns } from './row-runs.ts';

const row: TaskRow = {
  taskId: hexId('task', 64),
  version: hexId('version', 16),
  pieceLength: 10,
  length: 100,
  url: 'http://origin/path',
  scope: undefined,
  isPrivate: false,
  validators: { etag: '"1"' },
  wholeDigest: undefined,
  isManifestFinal: true,
  manifestRows: [
    [0, 3],
    [7, 8],
  ],
  createdMs: 1,
  accessedMs: 2,
  sealed: { size: 100, mtimeMs: 1.5, inode: 7 },
  rested: undefined,
  keptUntilMs: 9,
  boot: 'boot',
  isSuspect: false,
  had: new Uint8Array([0x80, 0x40]),
};
const key = taskKey(taskName(row));
/** Without its sum. */
const json = encodeTaskRow(row).slice(8);

test('parseTaskRow() gives back what encodeTaskRow() was given', (t) => {
  t.deepEqual(parseTaskRow(key, encodeTaskRow(row)), { ...row, had: Buffer.from([0x80, 0x40]) });
  t.deepEqual([...bitsOfRow(row).indexes()], [0, 9]);
});

test('encodeTaskRow() leaves out trailing zeros, so that a young task has a short row', (t) => {
  const long = { ...row, length: undefined, had: new Uint8Array(8192) };
  t.true(encodeTaskRow(long).length < 1000);
});

test('encodeTaskRow() is no longer for thousands of manifest rows than for ten', (t) => {
  let rows: RowRuns = [];
  const lengths: number[] = [];
  for (let count = 1; count <= 9_999; count += 1) {
    rows = withNextRow(rows);
    if (count === 10 || count === 9_999) {
      lengths.push(encodeTaskRow({ ...row, manifestRows: rows }).length);
    }
  }
  t.true((lengths[1] ?? 0) - (lengths[0] ?? 0) <= 2, String(lengths));
});

test('parseTaskRow() refuses a row whose fields are wrong, one by one', (t) => {
  const wrong: Record<string, unknown>[] = [
    { v: 2 },
    { taskId: 'abc' },
    { version: row.version.toUpperCase() },
    { pieceLength: 0 },
    { pieceLength: 1.5 },
    { length: -1 },
    { length: 2 ** 50 },
    { length: MAX_PIECES * 10 + 1 },
    { url: 7 },
    { isPrivate: 'yes' },
    { validators: null },
    { validators: { etag: 7 } },
    { sealed: { size: 1 } },
    { had: 'not base64!' },
    { had: Buffer.alloc(3).toString('base64') },
    { createdMs: '1' },
    { manifestRows: [-1] },
    { manifestRows: [[0, 2 ** 40]] },
    { manifestRows: undefined },
  ];
  for (const change of wrong) {
    const text = JSON.stringify({ ...JSON.parse(json), ...change });
    t.is(parseTaskRow(key, withSum(key, text)), undefined, JSON.stringify(change));
  }
  t.is(parseTaskRow('task/other', encodeTaskRow(row)), undefined);
});

test('parseTaskRow() passes over fields of a later version that it does not know', (t) => {
  const text = JSON.stringify({ ...JSON.parse(json), colour: 'blue' });
  t.is(parseTaskRow(key, withSum(key, text))?.taskId, row.taskId);
});

test('parseTaskRow() and parseBatches() never throw, whatever the bytes', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      for (const value of [text, withSum(key, text)]) {
        t.is(parseTaskRow(key, value), undefined);
        t.is(parseBatches(key, value), undefined);
      }
    }),
  );
});

test('parseTaskRow() of a damaged row refuses it, whatever it says now', (t) => {
  const whole = encodeTaskRow(row);
  fc.assert(
    fc.property(fc.nat({ max: whole.length - 1 }), fc.string({ maxLength: 3 }), (at, put) => {
      const damaged = whole.slice(0, at) + put + whole.slice(at + 1);
      if (damaged !== whole) t.is(parseTaskRow(key, damaged), undefined);
    }),
  );
});

test('parseTaskRow() of a row that was written before rows had sums takes it, and bits that fit the task', (t) => {
  t.is(parseTaskRow(key, json)?.taskId, row.taskId);
  fc.assert(
    fc.property(fc.nat({ max: json.length - 1 }), fc.string({ maxLength: 3 }), (at, put) => {
      const parsed = parseTaskRow(key, json.slice(0, at) + put + json.slice(at + 1));
      if (parsed === undefined) return;
      const bits = bitsOfRow(parsed);
      t.is(bits.length, bitCapacity(parsed));
      t.true(bits.count <= bits.length);
    }),
  );
});

test('parseBatches() refuses the row of another task', (t) => {
  const whole = encodeBatches(manifestKey(taskName(row), 1), []);
  t.deepEqual(parseBatches(manifestKey(taskName(row), 1), whole), []);
  t.is(parseBatches(manifestKey(taskName(row), 2), whole), undefined);
});

test('parseBatches() gives back what encodeBatches() was given', (t) => {
  const batches: StoredBatch[] = [
    { batch: 'signed', signer: undefined, entries: [{ index: 0, digest: hexId('d', 64) }] },
    { batch: 'provisional', signer: 'host', entries: [] },
  ];
  t.deepEqual(parseBatches('manifest/x', encodeBatches('manifest/x', batches)), batches);
});

test('parseBatches() refuses entries that are no digests of pieces', (t) => {
  const digest = hexId('d', 64);
  for (const entry of [[-1, digest], [MAX_PIECES, digest], [0, 'AB'], [0], 0, ['0', digest]]) {
    const text = JSON.stringify({ v: 1, batches: [{ batch: 'b', entries: [entry] }] });
    t.is(parseBatches('m', withSum('m', text)), undefined, JSON.stringify(entry));
  }
});

test('parseManifestKey() takes apart what manifestKey() put together, and nothing else', (t) => {
  const name = taskName(row);
  t.deepEqual(parseManifestKey(manifestKey(name, 12)), { name, sequence: 12 });
  for (const bad of ['manifest/', `manifest/${name}/1`, 'manifest/../0000000001', 'task/x']) {
    t.is(parseManifestKey(bad), undefined, bad);
  }
});
