import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { AuditLog } from './audit-log.ts';
import { pruneKind } from './audit-pruning.ts';
import type { Pruned } from './audit-pruning.ts';
import type { AuditEntry, ChainPoint } from './audit-record.ts';
import { baseKey, checkpointKey, recordKey, rowsAfter } from './audit-rows.ts';
import { verifyAudit } from './audit-verify.ts';
import type { AuditVerdict } from './audit-verify.ts';

const cellKey = HostKey.generate();
const cell = cellKey.peerId;
const HOUR_MS = 3_600_000;

function entry(over: Partial<AuditEntry> = {}): AuditEntry {
  const base = { kind: 'call.run', principal: 'ann', source: '::1', object: 'x', detail: {} };
  return { ...base, decision: 'allowed', ...over };
}

/** A log of hours: each has two records and a checkpoint. */
class Bench {
  readonly clock = new ManualClock();
  readonly key = HostKey.generate();
  readonly folder: string;
  readonly state: LevelStateStore;
  isCertified = true;
  #audit: AuditLog | undefined;

  private constructor(folder: string, state: LevelStateStore) {
    this.folder = folder;
    this.state = state;
  }

  static async open(t: ExecutionContext, hours = 5): Promise<Bench> {
    const folder = await mkdtemp(join(tmpdir(), 'odonata-prune-'));
    const state = await LevelStateStore.open(join(folder, 'state'));
    const bench = new Bench(folder, state);
    t.teardown(async () => {
      await bench.#audit?.close();
      await state.close();
      await rm(folder, { recursive: true, force: true });
    });
    await bench.start();
    for (let hour = 0; hour < hours; hour += 1) await bench.hour();
    return bench;
  }

  get audit(): AuditLog {
    if (this.#audit === undefined) throw new TypeError('not open');
    return this.#audit;
  }

  /** Another start; what ran before is not closed, as if it had been killed. */
  async start(): Promise<void> {
    const now = this.clock.now();
    const { peerId: control } = this.key;
    const signed = issueControlCertificate(cellKey, { control, now });
    const certificate = (): string => {
      if (this.isCertified) return signed;
      throw new CodedError('ERR_KEY_FILE', 'no certificate');
    };
    const { state, folder, clock, key } = this;
    this.#audit = await AuditLog.open({
      state,
      cell,
      control: {
        key,
        get certificate() {
          return certificate();
        },
      },
      headFile: join(folder, 'audit-head'),
      clock,
      log: silentLog,
    });
  }

  async hour(): Promise<void> {
    await this.audit.append(entry());
    await this.audit.append(entry());
    await this.lines();
    this.clock.advance(HOUR_MS);
  }

  /** Of an export. */
  async lines(): Promise<string[]> {
    const lines: string[] = [];
    for await (const line of this.audit.export()) lines.push(line);
    return lines;
  }

  async verdict(atLeast?: ChainPoint): Promise<AuditVerdict> {
    return verdictOf(await this.lines(), atLeast);
  }

  /** Cuts off what is older than so many hours, as the door does. */
  async prune(hours: number, exported?: ChainPoint): Promise<Pruned> {
    const before = this.clock.now() - hours * HOUR_MS;
    const head = exported ?? (await this.verdict()).head ?? { seq: 0, hash: '' };
    const { seq, hash } = head;
    const effect = await this.audit.prune({ before, exported: { seq, hash } });
    const { changes, expect = [], detail } = effect;
    await this.audit.append(entry({ kind: pruneKind, detail }), { changes, expect });
    return effect.answer();
  }

  /** Rows of records and checkpoints up to a record. */
  async rows(last: number): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.state.range(rowsAfter(0, last))) keys.push(key);
    return keys;
  }
}

async function verdictOf(lines: readonly string[], atLeast?: ChainPoint): Promise<AuditVerdict> {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(lines.join(''));
  }
  return verifyAudit(bytes(), { cell, atLeast });
}

test('what is pruned is gone, and what is left is one chain with what was exported before', async (t) => {
  const bench = await Bench.open(t);
  const exported = await bench.lines();
  const old = await verdictOf(exported);
  t.like(old, { fault: undefined, records: 10, from: undefined, head: { seq: 10 } });
  const { through, records } = await bench.prune(2);
  t.is(records, 6, 'of three hours');
  t.is(through.seq, 6);
  await bench.audit.sweep();
  t.deepEqual(await bench.rows(6), [checkpointKey(6)]);
  const left = await bench.verdict(old.head);
  t.like(left, { fault: undefined, records: 5, from: through, first: { seq: 7 }, unsigned: 0 });
  t.is((await bench.audit.list({ limit: 100 })).records[0]?.seq, 7);
  // Again, and after a start.
  await bench.hour();
  const later = await verdictOf(await bench.lines());
  await bench.prune(1);
  await bench.start();
  const last = await bench.verdict(later.head);
  t.like(last, { fault: undefined, unsigned: 0 });
  const from = last.from?.seq ?? 0;
  t.true(from > 6);
  t.deepEqual(await bench.rows(from), [checkpointKey(from)]);
});

test('a head given of what was pruned since cannot be verified, and that of the cut can', async (t) => {
  const bench = await Bench.open(t);
  const { through } = await bench.prune(2);
  t.is((await bench.verdict(through)).fault, undefined);
  const other = { seq: through.seq, hash: '0'.repeat(64) };
  t.like((await bench.verdict(other)).fault, { problem: 'rewritten', seq: 6 });
  t.like((await bench.verdict({ ...through, seq: 4 })).fault, { problem: 'missing', seq: 4 });
});

test('a head that is cut off without a signed record of it is found', async (t) => {
  const bench = await Bench.open(t);
  const lines = await bench.lines();
  const [header = '', ...rest] = lines;
  // Three lines an hour: from any checkpoint on, or from anywhere else.
  for (let from = 1; from < rest.length; from += 1) {
    const { fault } = await verdictOf([header, ...rest.slice(from)]);
    t.is(fault?.problem, 'missing', `from line ${from}`);
  }
  // In the store, with the mark that the log itself makes.
  const cut = rest.find((line) => line.includes('"seq":6,')) ?? '{}';
  const { hash }: { hash: string } = JSON.parse(cut);
  await bench.state.commit([
    { type: 'put', key: baseKey, value: { seq: 6, hash } },
    ...[1, 2, 3, 4, 5, 6].map((seq) => ({ type: 'del' as const, key: recordKey(seq) })),
  ]);
  const missing = { problem: 'missing', seq: 1, message: /no signed record/ } as const;
  const fault = (await bench.verdict()).fault;
  t.like(fault, { problem: missing.problem, seq: missing.seq });
  t.regex(fault?.message ?? '', missing.message);
  // One that was denied, or is of another cut, does not help.
  const detail = { seq: 6, hash };
  await bench.audit.append(entry({ kind: pruneKind, decision: 'denied', detail }));
  await bench.audit.append(entry({ kind: pruneKind, detail: { ...detail, seq: 4 } }));
  await bench.audit.append(entry({ kind: 'call.run', detail }));
  t.like((await bench.verdict()).fault, { problem: 'missing', seq: 1 });
});

test('nothing of a pruned export can be left out, and its record of the cut must be signed', async (t) => {
  const bench = await Bench.open(t);
  await bench.prune(2);
  const lines = await bench.lines();
  t.is((await verdictOf(lines)).fault, undefined);
  for (let line = 0; line < lines.length; line += 1) {
    t.truthy((await verdictOf(lines.toSpliced(line, 1))).fault, `line ${line}`);
    t.truthy((await verdictOf(lines.slice(0, line))).fault, `up to line ${line}`);
  }
  // Further than the record says.
  t.truthy((await verdictOf([...lines.slice(0, 1), ...lines.slice(4)])).fault);
});

test('nothing is pruned that is not exported, not old, not signed, or not as it was written', async (t) => {
  const bench = await Bench.open(t);
  const { head = { seq: 0, hash: '' } } = await bench.verdict();
  await t.throwsAsync(bench.prune(0, { ...head, hash: '0'.repeat(64) }), { code: 'ERR_REQUEST' });
  await t.throwsAsync(bench.prune(0, { ...head, seq: 99 }), { code: 'ERR_REQUEST' });
  await t.throwsAsync(bench.prune(100), { code: 'ERR_NOT_FOUND' });
  bench.isCertified = false;
  await t.throwsAsync(bench.prune(2), { code: 'ERR_KEY_FILE' });
  bench.isCertified = true;
  const [, record = '{}'] = await bench.lines();
  const forged = { ...JSON.parse(record), principal: 'mallory' };
  await bench.state.commit([{ type: 'put', key: recordKey(1), value: forged }]);
  await t.throwsAsync(bench.prune(2, head), { code: 'ERR_AUDIT_BROKEN', message: /flipped/ });
  t.is((await bench.rows(10)).length, 15);
});

test('what was pruned and not deleted yet is deleted once the record of it is signed', async (t) => {
  const bench = await Bench.open(t);
  const { head } = await bench.verdict();
  await bench.prune(2);
  t.is((await bench.rows(6)).length, 9, 'killed before the rows went');
  bench.isCertified = false;
  await bench.start();
  t.is((await bench.rows(6)).length, 9, 'nobody could sign meanwhile');
  bench.isCertified = true;
  await bench.start();
  t.deepEqual(await bench.rows(6), [checkpointKey(6)]);
  t.is((await bench.verdict(head)).fault, undefined);
});
