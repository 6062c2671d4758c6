import test from 'ava';
import { anything, assert, property } from 'fast-check';
import { CodedError } from '../base/error.ts';
import type { DownloadEvent } from '../swarm/download-events.ts';
import { parseDownloadEvent, parseErrorObject } from './event-parser.ts';
import { TASK, doneEvent } from './local-api.contract.ts';

const sources = { fromPeers: 1, fromSeed: 2, fromOrigin: 3, fromCache: 4 };
const source = { source: '12D3', role: 'peer', pieces: 3, bytes: 9, wrongPieces: 0, failures: 1 };

const events: DownloadEvent[] = [
  { type: 'started', task: TASK, url: 'http://o/f' },
  { type: 'started', task: TASK, url: 'http://o/f', length: 10 },
  { type: 'progress', received: 10, length: 20, bytesPerSecond: 1.5, ...sources },
  { type: 'stalled', reason: 'no parent', ms: 2000 },
  doneEvent(10, { digest: 'sha256:ab', path: '/d/file' }),
  doneEvent(0, { content: '' }),
  doneEvent(10, {
    explain: {
      sources: [
        { ...source, role: 'peer' },
        { ...source, role: 'origin', address: 'a:1' },
      ],
      waits: [{ reason: 'registering', ms: 3 }],
      notes: ['n'],
    },
  }),
  { type: 'failed', ...new CodedError('ERR_NO_SPACE', 'full', { detail: { free: 1 } }).toObject() },
];

test('parseDownloadEvent() gives back every event as it was sent', (t) => {
  for (const event of events) {
    t.deepEqual(parseDownloadEvent(JSON.parse(JSON.stringify(event))), event);
  }
});

test('parseDownloadEvent() drops unknown fields and passes over unknown types', (t) => {
  const [event] = events;
  t.deepEqual(parseDownloadEvent({ ...event, later: 1 }), event);
  t.is(parseDownloadEvent({ type: 'cheered' }), undefined);
});

test('parseDownloadEvent() names the field that is wrong', (t) => {
  const cases: [unknown, RegExp][] = [
    [null, /field event is not an object/],
    [{}, /field type/],
    [{ ...events[0], task: '../../etc' }, /field task is not 64 hex/],
    [{ ...events[2], received: -1 }, /field received/],
    [{ ...events[2], received: '1' }, /field received/],
    [doneEvent(1, { version: '&x' }), /field version/],
    [{ ...doneEvent(1), path: 5 }, /field path/],
    [{ ...doneEvent(1), explain: { sources: [{}], waits: [], notes: [] } }, /field role/],
  ];
  for (const [value, message] of cases) {
    const error = t.throws(() => parseDownloadEvent(value), { instanceOf: CodedError, message });
    t.is(error.code, 'ERR_PROTOCOL');
  }
});

test('parseDownloadEvent() throws nothing but ERR_PROTOCOL, whatever comes', (t) => {
  assert(
    property(anything(), anything(), (value, field) => {
      for (const given of [value, { ...doneEvent(1), length: field, task: value }]) {
        try {
          parseDownloadEvent(given);
        } catch (error) {
          t.true(error instanceof CodedError && error.code === 'ERR_PROTOCOL', String(error));
        }
      }
    }),
  );
});

test('parseErrorObject() keeps a known code and its detail, and calls an unknown one internal', (t) => {
  const known = parseErrorObject({ code: 'ERR_BUSY', message: 'm', detail: { limit: 3 } });
  t.like(known, { code: 'ERR_BUSY', message: 'm', detail: { limit: 3 } });
  t.is(parseErrorObject({ code: 'ERR_OF_TOMORROW', message: 'm' }).code, 'ERR_INTERNAL');
});
