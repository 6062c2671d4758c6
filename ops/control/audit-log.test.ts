import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { silentLog } from '../../core/base/log.ts';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { StateChange, StateStore } from '../../core/store/state-store.ts';
import { mounting } from '../../test/support/mounting-test.ts';
import { Tmpfs } from '../../test/support/tmpfs.ts';
import { AuditLog, auditLimits } from './audit-log.ts';
import type { AuditLogParts } from './audit-log.ts';
import type { AuditEntry } from './audit-record.ts';
import { checkpointKey, recordKey } from './audit-rows.ts';
import { verifyAudit } from './audit-verify.ts';
import type { AuditVerdict } from './audit-verify.ts';

const cellKey = HostKey.generate();
const cell = cellKey.peerId;
const controlKey = HostKey.generate();
async function folder(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'odonata-audit-'));
  t.teardown(async () => rm(directory, { recursive: true, force: true }));
  return directory;
}

function partsOf(
  directory: string,
  state: StateStore,
  over: Partial<AuditLogParts> = {},
): AuditLogParts {
  const clock = new ManualClock();
  const certificate = issueControlCertificate(cellKey, {
    control: controlKey.peerId,
    now: clock.now(),
  });
  const control = { key: controlKey, certificate };
  const headFile = join(directory, 'audit-head');
  return { state, cell, control, headFile, clock, log: silentLog, ...over };
}

function entry(number: number, over: Partial<AuditEntry> = {}): AuditEntry {
  return {
    kind: 'call.run',
    principal: 'alice',
    source: '10.0.0.1',
    decision: 'allowed',
    object: `call ${number}`,
    detail: { number },
    ...over,
  };
}

async function verdictOf(audit: AuditLog): Promise<AuditVerdict> {
  return verifyAudit(bytesOf(audit.export()), { cell });
}

async function* bytesOf(lines: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  for await (const line of lines) yield Buffer.from(line);
}

/** A store that does one thing in another way. */
function standIn(state: StateStore, over: Partial<StateStore>): StateStore {
  return {
    get: async (key) => state.get(key),
    range: (range, options) => state.range(range, options),
    commit: async (changes, options) => state.commit(changes, options),
    watch: (range, options) => state.watch(range, options),
    close: async () => state.close(),
    [Symbol.asyncDispose]: async () => state.close(),
    ...over,
  };
}

/** A log that keeps what it was told as errors. */
function heard(): { readonly log: Log; readonly errors: string[] } {
  const errors: string[] = [];
  const log: Log = { ...silentLog, error: (_facts, message) => errors.push(message) };
  return { log, errors };
}

test('AuditLog.append() commits a record with its changes, and the chain goes on after a start', async (t) => {
  const directory = await folder(t);
  const place = join(directory, 'state');
  {
    await using state = await LevelStateStore.open(place);
    const audit = await AuditLog.open(partsOf(directory, state));
    const first = await audit.append(entry(1), {
      changes: [{ type: 'put', key: 'call/1', value: 'queued' }],
      expect: [{ key: 'call/1', revision: 0 }],
    });
    t.like(first, { seq: 1, prev: '0'.repeat(64), kind: 'call.run', at: 1_700_000_000_000 });
    t.is((await state.get('call/1'))?.revision, (await state.get(recordKey(1)))?.revision);
    // Not closed: as if the process had been killed.
  }
  await using state = await LevelStateStore.open(place);
  await using audit = await AuditLog.open(partsOf(directory, state));
  const second = await audit.append(entry(2));
  t.is(second.seq, 2);
  const verdict = await verdictOf(audit);
  t.like(verdict, { records: 2, checkpoints: 1, unsigned: 0, head: { seq: 2 } });
  t.is(verdict.fault, undefined);
});

test('AuditLog: a thousand appends at once keep their order, in a few commits', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  await using audit = await AuditLog.open(partsOf(directory, state));
  const records = await Promise.all(
    Array.from({ length: 1_000 }, async (_, number) => audit.append(entry(number))),
  );
  t.deepEqual(
    records.map(({ seq, object }) => [seq, object]),
    records.map((_, at) => [at + 1, `call ${at}`]),
  );
  const last = await state.get(recordKey(1_000));
  t.is(last?.revision, 1_000 / auditLimits.together, 'a revision is a commit, and that a sync');
  t.truthy(await state.get(checkpointKey(1_000)), 'and after a thousand a checkpoint');
  t.is((await verdictOf(audit)).fault, undefined);
});

test('AuditLog.append() refuses only those whose expectations fail, and the chain stays whole', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  await using audit = await AuditLog.open(partsOf(directory, state));
  // Twenty spend from one budget as they found it: one of them wins. Eighty have nothing to do with it.
  const outcomes = await Promise.allSettled(
    Array.from({ length: 100 }, async (_, number) =>
      audit.append(
        entry(number),
        number % 5 > 0
          ? { changes: [{ type: 'put', key: `own/${number}`, value: 1 }] }
          : {
              changes: [{ type: 'put', key: 'budget', value: number }],
              expect: [{ key: 'budget', revision: 0 }],
            },
      ),
    ),
  );
  const refused = outcomes.flatMap((outcome) =>
    outcome.status === 'rejected' ? [outcome.reason.code] : [],
  );
  t.deepEqual(
    refused,
    Array.from({ length: 19 }, () => 'ERR_CONFLICT'),
  );
  t.is((await state.get('budget'))?.value, 0, 'the first of them');
  const { records, fault } = await verdictOf(audit);
  t.is(records, 81);
  t.is(fault, undefined);
});

test('AuditLog: who commits beside it spoils only the append that counted on the row', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  // As late as can be: after the log has looked at the row, and before its commit.
  let isSpoilt = false;
  const racing = standIn(state, {
    get: async (key) => {
      const row = await state.get(key);
      if (key === 'row' && !isSpoilt) {
        isSpoilt = true;
        await state.commit([{ type: 'put', key: 'row', value: 'theirs' }]);
      }
      return row;
    },
  });
  await using audit = await AuditLog.open(partsOf(directory, racing));
  const outcomes = await Promise.allSettled(
    Array.from({ length: 9 }, async (_, number) =>
      audit.append(
        entry(number),
        number === 4 ? { expect: [{ key: 'row', revision: 0 }] } : undefined,
      ),
    ),
  );
  t.deepEqual(
    outcomes.map((outcome) =>
      outcome.status === 'rejected' ? outcome.reason.code : outcome.value.seq,
    ),
    [1, 2, 3, 4, 'ERR_CONFLICT', 5, 6, 7, 8],
  );
  t.like(await verdictOf(audit), { records: 8, unsigned: 0 });
});

test('AuditLog.append() refuses what cannot be a record, naming the field', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  await using audit = await AuditLog.open(partsOf(directory, state));
  const bad: readonly [Partial<AuditEntry>, RegExp][] = [
    [{ kind: 'Call Run' }, /^\/kind: /],
    [{ principal: 'x'.repeat(257) }, /^\/principal: /],
    [{ source: '\ud800' }, /^\/source: is no well-formed text/],
    [{ detail: { share: 0.5 } }, /^\/detail\/share: is no whole number/],
    [{ detail: { text: 'x'.repeat(16_384) } }, /^\/detail: .*at most 16384 bytes/],
  ];
  for (const [over, message] of bad) {
    await t.throwsAsync(audit.append(entry(1, over)), { code: 'ERR_REQUEST', message });
  }
  const long = { changes: [{ type: 'put', key: 'x'.repeat(2_000), value: 1 }] } as const;
  const outcomes = await Promise.allSettled([
    audit.append(entry(1)),
    audit.append(entry(2), long),
    audit.append(entry(3)),
  ]);
  t.deepEqual(
    outcomes.map((outcome) =>
      outcome.status === 'rejected' ? outcome.reason.code : outcome.value.seq,
    ),
    [1, 'ERR_REQUEST', 2],
  );
  const own = { changes: [{ type: 'del', key: recordKey(1) }] } as const;
  await t.throwsAsync(audit.append(entry(4), own), { instanceOf: TypeError });
});

test('AuditLog signs each minute when there was something new, and keeps the checkpoint beside the store', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  const clock = new ManualClock();
  const parts = partsOf(directory, state, { clock });
  const audit = await AuditLog.open(parts);
  await audit.append(entry(1));
  t.is(await state.get(checkpointKey(1)), undefined);
  const watch = state.watch(keysWith('audit/'), { signal: new AbortController().signal });
  clock.advance(auditLimits.checkpointMs);
  const { value: signed } = await watch.next();
  t.deepEqual(
    signed?.changes.map(({ key }: StateChange) => key),
    [checkpointKey(1)],
  );
  clock.advance(auditLimits.checkpointMs);
  await audit.append(entry(2));
  await audit.close();
  const last = (await state.get(checkpointKey(2)))?.value;
  t.is(await readFile(parts.headFile, 'utf8'), `${String(last)}\n`);
  t.is((await stat(parts.headFile)).mode & 0o777, 0o600);
  await t.throwsAsync(audit.append(entry(3)), { code: 'ERR_AUDIT_UNWRITABLE' });
  await audit.close();
});

test('AuditLog writes no checkpoint while its key has no certificate, and makes up for it', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  const parts = partsOf(directory, state);
  let isCertified = false;
  const control = {
    key: controlKey,
    get certificate(): string {
      if (isCertified) return parts.control.certificate;
      throw new TypeError('no certificate');
    },
  };
  const { log, errors } = heard();
  await using audit = await AuditLog.open({ ...parts, control, log });
  await audit.append(entry(1));
  t.like(await verdictOf(audit), { records: 1, unsigned: 1, fault: undefined });
  t.deepEqual(errors, ['the audit cannot be signed']);
  isCertified = true;
  t.like(await verdictOf(audit), { records: 1, unsigned: 0, fault: undefined });
});

mounting(
  'AuditLog refuses everything while the disk is full, and then goes on with the chain whole',
  async (t) => {
    const directory = await folder(t);
    await using disk = await Tmpfs.mount(join(directory, 'disk'), { mib: 16 });
    const place = join(disk.path, 'state');
    {
      await using state = await LevelStateStore.open(place);
      const { log, errors } = heard();
      const audit = await AuditLog.open(partsOf(disk.path, state, { log }));
      const write = async (number: number): Promise<unknown> =>
        audit.append(entry(number, { detail: { text: 'x'.repeat(4_000) } }), {
          changes: [{ type: 'put', key: `effect/${number}`, value: number }],
        });
      await write(1);
      {
        await using _ballast = await disk.fill();
        const failing = await Promise.allSettled(
          Array.from({ length: 40 }, async (_, at) => write(at + 2)),
        );
        const codes = new Set(failing.map((one) => one.status === 'rejected' && one.reason.code));
        t.deepEqual([...codes], ['ERR_AUDIT_UNWRITABLE']);
        await t.throwsAsync(write(100), { code: 'ERR_AUDIT_UNWRITABLE' });
        t.deepEqual(errors, ['the audit cannot be written'], 'told once');
      }
      await Promise.all([write(200), write(201)]);
      t.is((await verdictOf(audit)).fault, undefined);
      await write(202);
    }
    await using state = await LevelStateStore.open(place);
    await using audit = await AuditLog.open(partsOf(disk.path, state));
    const { records } = await audit.list({ limit: 100 });
    t.deepEqual(
      records.map(({ seq, object }) => [seq, object]),
      [
        [1, 'call 1'],
        [2, 'call 200'],
        [3, 'call 201'],
        [4, 'call 202'],
      ],
    );
    const effects = await Array.fromAsync(state.range({ gte: 'effect/', lt: 'effect0' }));
    t.deepEqual(
      effects.map(({ value }) => value),
      [1, 200, 201, 202],
      'no effect without its record',
    );
    t.like(await verdictOf(audit), { records: 4, unsigned: 0, fault: undefined });
  },
);

test('AuditLog writes over no record of which it was only said that it could not be written', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  // As level does when the disk fails after the bytes were given to it: they are there once it is opened anew.
  let late: readonly StateChange[] | undefined = [];
  const failing = standIn(state, {
    commit: async (changes, options) => {
      if (late?.length === 0) {
        late = changes;
        throw new CodedError('ERR_STORE_IO', 'the disk');
      }
      if (late !== undefined) await state.commit(late);
      late = undefined;
      return state.commit(changes, options);
    },
  });
  await using audit = await AuditLog.open(partsOf(directory, failing));
  const effect = { changes: [{ type: 'put', key: 'effect', value: 1 }] } as const;
  await t.throwsAsync(audit.append(entry(1), effect), { code: 'ERR_AUDIT_UNWRITABLE' });
  t.like(await audit.append(entry(2)), { seq: 2, object: 'call 2' });
  t.is((await state.get('effect'))?.value, 1);
  const { records } = await audit.list({ limit: 10 });
  t.deepEqual(
    records.map(({ object }) => object),
    ['call 1', 'call 2'],
    'what took effect has its record',
  );
  t.is((await verdictOf(audit)).fault, undefined);
});

test('AuditLog.append() is refused when the store is closed', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  await using audit = await AuditLog.open(partsOf(directory, state));
  await audit.append(entry(1));
  await state.close();
  const refused = { code: 'ERR_AUDIT_UNWRITABLE', message: /cannot be written/ };
  await t.throwsAsync(audit.append(entry(2)), refused);
  await t.throwsAsync(audit.append(entry(3)), refused);
});

async function cut(state: StateStore): Promise<void> {
  await state.commit([2, 3].map((seq) => ({ type: 'del', key: recordKey(seq) }) as const));
  await state.commit([{ type: 'del', key: checkpointKey(3) }]);
}

async function change(state: StateStore): Promise<void> {
  const record = (await state.get(recordKey(3)))?.value;
  const value = { ...(record as object), principal: 'mallory' };
  await state.commit([{ type: 'put', key: recordKey(3), value }]);
}

async function drop(state: StateStore): Promise<void> {
  await state.commit([{ type: 'del', key: recordKey(3) }]);
}

test('AuditLog.open() notices a store that was cut, changed or put back, logs it and writes it down', async (t) => {
  for (const [harm, problem] of [
    [cut, 'truncated'],
    [change, 'flipped'],
    [drop, 'missing'],
  ] as const) {
    const directory = await folder(t);
    await using state = await LevelStateStore.open(join(directory, 'state'));
    const before = await AuditLog.open(partsOf(directory, state));
    for (let number = 1; number <= 3; number += 1) await before.append(entry(number));
    await before.close();
    const earlier = await verdictOf(before);
    await harm(state);
    const { log, errors } = heard();
    await using audit = await AuditLog.open(partsOf(directory, state, { log }));
    t.true(errors.length > 0);
    t.true(errors.every((message) => message === 'the audit log is damaged'));
    const { records } = await audit
      .list({ limit: 10, kind: 'audit.damaged', order: 'newest' })
      .catch(() => ({ records: [] }));
    if (problem === 'flipped' || problem === 'missing') {
      t.is((await verdictOf(audit)).fault?.problem, problem);
    } else {
      t.is(records[0]?.detail['problem'], problem);
      const since = { cell, atLeast: earlier.head };
      t.is((await verifyAudit(bytesOf(audit.export()), since)).fault?.problem, 'truncated');
      await audit.append(entry(4));
      t.is((await verifyAudit(bytesOf(audit.export()), since)).fault?.problem, 'rewritten');
    }
    await audit.close();
    const again = heard();
    await (await AuditLog.open(partsOf(directory, state, { log: again.log }))).close();
    t.deepEqual(again.errors, [], 'told once');
  }
});

test('AuditLog.open() notices a head file that is gone or is not its own', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  const parts = partsOf(directory, state);
  const first = await AuditLog.open(parts);
  await first.append(entry(1));
  await first.close();
  for (const harm of [
    async () => rm(parts.headFile),
    async () => writeFile(parts.headFile, 'nothing of the kind'),
  ]) {
    await harm();
    const { log, errors } = heard();
    await (await AuditLog.open({ ...parts, log })).close();
    t.deepEqual(errors, ['the audit log is damaged']);
  }
  await using audit = await AuditLog.open(parts);
  const { records } = await audit.list({ kind: 'audit.damaged', limit: 10 });
  t.deepEqual(
    records.map(({ detail }) => detail['problem']),
    ['missing', 'flipped'],
  );
  t.is((await verdictOf(audit)).fault, undefined);
});

test('AuditLog.list() gives pages from either end, of a kind, of a principal', async (t) => {
  const directory = await folder(t);
  await using state = await LevelStateStore.open(join(directory, 'state'));
  await using audit = await AuditLog.open(partsOf(directory, state));
  const all = Array.from({ length: 10 }, (_, at) =>
    entry(at + 1, {
      principal: at % 2 === 0 ? 'alice' : 'bob',
      kind: at < 5 ? 'key.create' : 'call.run',
    }),
  );
  await Promise.all(all.map(async (one) => audit.append(one)));
  const seqs = async (query: Parameters<AuditLog['list']>[0]): Promise<unknown> => {
    const { records, next } = await audit.list(query);
    return [records.map(({ seq }) => seq), next];
  };
  t.deepEqual(await seqs({ limit: 4 }), [[1, 2, 3, 4], 4]);
  t.deepEqual(await seqs({ limit: 4, after: 8 }), [[9, 10], undefined]);
  t.deepEqual(await seqs({ limit: 3, order: 'newest' }), [[10, 9, 8], 8]);
  t.deepEqual(await seqs({ limit: 3, order: 'newest', after: 3 }), [[2, 1], undefined]);
  t.deepEqual(await seqs({ limit: 2, principal: 'bob' }), [[2, 4], 4]);
  t.deepEqual(await seqs({ limit: 9, principal: 'bob', kind: 'key.create' }), [[2, 4], undefined]);
});
