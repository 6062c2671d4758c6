import test from 'ava';
import { assert, asyncProperty, integer, nat } from 'fast-check';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { sealCheckpoint } from './audit-checkpoint.ts';
import {
  canonical,
  chainStart,
  checkedEntry,
  hashOf,
  parseRecord,
  recordAfter,
} from './audit-record.ts';
import type { AuditRecord, ChainPoint } from './audit-record.ts';
import { verifyAudit } from './audit-verify.ts';
import type { AuditVerdict } from './audit-verify.ts';

const cellKey = HostKey.generate();
const cell = cellKey.peerId;
const controlKey = HostKey.generate();
const NOW = 1_800_000_000_000;
const certificate = issueControlCertificate(cellKey, { control: controlKey.peerId, now: NOW });

type Line = Record<string, unknown>;

interface Plan {
  readonly records: number;
  /** Records between checkpoints. */
  readonly every: number;
  readonly key?: HostKey;
  readonly certificates?: readonly string[];
  /** What becomes of a record before what follows is chained to it. */
  readonly change?: (record: AuditRecord) => AuditRecord;
  readonly signedAt?: number;
}

/** An export as the log makes it, or as somebody would who has `key`. */
function linesOf({ records, every, change = (one) => one, ...plan }: Plan): Line[] {
  const { key = controlKey, certificates = [certificate], signedAt = NOW } = plan;
  const lines: Line[] = [];
  let head: ChainPoint = chainStart;
  let last: string | undefined;
  for (let seq = 1; seq <= records; seq += 1) {
    const detail = { number: seq, text: 'ä "quoted" \u2028', list: [true, null, { deep: -1 }] };
    const entry = { kind: 'call.run', principal: 'alice', source: '::1', object: `call ${seq}` };
    const checked = checkedEntry({ ...entry, decision: 'allowed', detail });
    const record = change(recordAfter(head, checked, NOW + seq));
    lines.push({ ...record });
    head = { seq, hash: record.hash };
    if (seq % every > 0) continue;
    last = sealCheckpoint(key, { ...head, cell, at: signedAt, count: every });
    lines.push({ checkpoint: last });
  }
  return [{ v: 1, cell, certificates, head: last }, ...lines];
}

function bytesOf(lines: readonly Line[]): Buffer {
  return Buffer.from(lines.map((line) => `${canonical(line)}\n`).join(''));
}

async function verdictOf(bytes: Uint8Array, atLeast?: ChainPoint): Promise<AuditVerdict> {
  // In two parts that meet anywhere: what is read need not end with a line.
  const half = Math.floor(bytes.length / 2);
  async function* parts(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, half);
    yield bytes.subarray(half);
  }
  return verifyAudit(parts(), { cell, atLeast });
}

async function faultOf(lines: readonly Line[], atLeast?: ChainPoint): Promise<unknown> {
  const { fault } = await verdictOf(bytesOf(lines), atLeast);
  return fault === undefined ? undefined : [fault.problem, fault.seq];
}

/** Line of a record: one checkpoint stands after every fifth. */
const at = (seq: number): number => seq + Math.floor((seq - 1) / 5);
const plan = { records: 15, every: 5 } as const;

function headOf(verdict: AuditVerdict): ChainPoint {
  return { seq: verdict.head?.seq ?? 0, hash: verdict.head?.hash ?? '' };
}

const forged = (record: AuditRecord): AuditRecord => ({ ...record, principal: 'mallory' });
const hashed = (record: AuditRecord): AuditRecord => ({ ...record, hash: hashOf(record) });

test('verifyAudit() says what an export holds that is as it was written', async (t) => {
  const good = await verdictOf(bytesOf(linesOf({ records: 17, every: 5 })));
  t.like(good, {
    fault: undefined,
    records: 17,
    checkpoints: 3,
    unsigned: 2,
    first: { seq: 1, at: NOW + 1 },
    last: { seq: 17, at: NOW + 17 },
    head: { seq: 15, at: NOW },
  });
  t.is(
    (await verdictOf(bytesOf(linesOf({ records: 20, every: 5 })), headOf(good))).fault,
    undefined,
  );
  const empty = await verdictOf(bytesOf([{ v: 1, cell, certificates: [] }]));
  t.like(empty, { fault: undefined, records: 0, checkpoints: 0, unsigned: 0 });
});

test('verifyAudit() finds whatever byte was changed', async (t) => {
  const bytes = bytesOf(linesOf({ records: 3, every: 2 }));
  const anyByte = nat(bytes.length - 1);
  const anyChange = integer({ min: 1, max: 255 });
  await t.notThrowsAsync(async () =>
    assert(
      asyncProperty(anyByte, anyChange, async (offset, mask) => {
        const changed = Buffer.from(bytes);
        changed[offset] = (changed[offset] ?? 0) ^ mask;
        return (await verdictOf(changed)).fault !== undefined;
      }),
      { numRuns: 250 },
    ),
  );
});

test('verifyAudit() finds wherever an export was cut', async (t) => {
  const bytes = bytesOf(linesOf({ records: 4, every: 2 }));
  await t.notThrowsAsync(async () =>
    assert(
      asyncProperty(nat(bytes.length - 1), async (length) => {
        const { fault } = await verdictOf(bytes.subarray(0, length));
        return fault?.problem === 'truncated';
      }),
      { numRuns: 120 },
    ),
  );
});

test('verifyAudit() finds lines that are not there, doubled, or elsewhere, and names the first', async (t) => {
  const lines = linesOf(plan);
  const without = (line: number): Line[] => lines.toSpliced(line, 1);
  const swapped = (one: number, other: number): Line[] =>
    lines.with(one, lines[other] ?? {}).with(other, lines[one] ?? {});
  t.deepEqual(await faultOf(without(at(1))), ['missing', 1]);
  t.deepEqual(await faultOf(without(at(7))), ['missing', 7]);
  t.deepEqual(await faultOf(without(at(10))), ['missing', 10], 'the one before a checkpoint');
  t.deepEqual(await faultOf(without(at(5) + 1)), ['missing', 10], 'a checkpoint');
  t.deepEqual(await faultOf(without(lines.length - 1)), ['truncated', 16], 'the last checkpoint');
  t.deepEqual(await faultOf(swapped(at(7), at(8))), ['out-of-order', 7]);
  t.deepEqual(await faultOf(swapped(at(2), at(14))), ['out-of-order', 2]);
  t.deepEqual(await faultOf(swapped(at(5), at(5) + 1)), ['out-of-order', 5], 'with its checkpoint');
  t.deepEqual(await faultOf(lines.toSpliced(at(7), 0, lines[at(7)] ?? {})), ['out-of-order', 7]);
  t.deepEqual(await faultOf(lines.toSpliced(at(7), 0, {})), ['flipped', 7]);
  for (let line = 0; line < lines.length; line += 1) t.truthy(await faultOf(without(line)));
  for (const distance of [1, 2, 7]) {
    for (let one = 0; one + distance < lines.length; one += 1) {
      t.truthy(await faultOf(swapped(one, one + distance)), `line ${one}, ${distance} on`);
    }
  }
});

test('verifyAudit() finds a record that was written anew, whatever was hashed again', async (t) => {
  const lines = linesOf(plan);
  const record = parseRecord(lines[at(7)]);
  const alone = { ...forged(record) };
  t.deepEqual(await faultOf(lines.with(at(7), alone)), ['flipped', 7]);
  t.deepEqual(await faultOf(lines.with(at(7), { ...hashed(alone) })), ['rewritten', 8]);
  // All that follows is hashed again: the checkpoints are those that were signed.
  const tail = linesOf({ ...plan, change: (one) => (one.seq === 7 ? hashed(forged(one)) : one) });
  const rehashed = tail.map((line, number) =>
    'checkpoint' in line || number === 0 ? (lines[number] ?? {}) : line,
  );
  t.deepEqual(await faultOf(rehashed), ['rewritten', 10]);
  // Even who has the control key cannot change what was verified before.
  const earlier = headOf(await verdictOf(bytesOf(lines)));
  t.is(await faultOf(tail), undefined);
  t.deepEqual(await faultOf(tail, earlier), ['rewritten', 15]);
  t.deepEqual(await faultOf(linesOf({ ...plan, records: 10 }), earlier), ['truncated', 11]);
});

test('verifyAudit() believes only keys that the cell certified, while it did', async (t) => {
  const key = HostKey.generate();
  t.deepEqual(await faultOf(linesOf({ ...plan, key })), ['re-signed', 0]);
  const [header = {}] = linesOf(plan);
  t.deepEqual(await faultOf([header, ...linesOf({ ...plan, key }).slice(1)]), ['re-signed', 5]);
  const strangers = issueControlCertificate(key, { control: key.peerId, now: NOW });
  const own = { ...plan, key, certificates: [certificate, strangers] };
  t.deepEqual(await faultOf(linesOf(own)), ['re-signed', 0]);
  const certified = issueControlCertificate(cellKey, { control: key.peerId, now: NOW });
  const second = { ...plan, key, certificates: [certificate, certified] };
  t.is(await faultOf(linesOf(second)), undefined, 'a second key of the cell');
  const late = { ...plan, signedAt: NOW + 100 * 86_400_000 };
  t.deepEqual(await faultOf(linesOf(late)), ['re-signed', 0]);
  const [other] = [HostKey.generate().peerId];
  t.is(
    (await verifyAudit(once(bytesOf(linesOf(plan))), { cell: other })).fault?.problem,
    're-signed',
  );
});

test('verifyAudit() takes anything at all without failing itself', async (t) => {
  for (const text of [
    '',
    '\n',
    '{}\n',
    'null\n',
    '[]\n',
    '\ufeff{}\n',
    `${'['.repeat(100_000)}\n`,
  ]) {
    t.truthy((await verifyAudit(once(Buffer.from(text)), { cell })).fault, text.slice(0, 10));
  }
  const [header = {}] = linesOf(plan);
  const long = Buffer.concat([
    bytesOf([header]),
    Buffer.alloc(5 * 1024 * 1024, 'x'),
    Buffer.from('\n'),
  ]);
  t.is((await verifyAudit(once(long), { cell })).fault?.problem, 'flipped');
});

test('canonical() is one text for one value, as RFC 8785 has it', (t) => {
  t.is(
    canonical({ '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\ud83d\ude00': 5, '\u0080': 6, ö: 7 }),
    '{"\\r":2,"1":4,"\u0080":6,"ö":7,"\u20ac":1,"\ud83d\ude00":5,"\ufb33":3}',
  );
  t.is(
    canonical({ b: undefined, a: ['\u000f', '\n', '\\', '"', '</'] }),
    '{"a":["\\u000f","\\n","\\\\","\\"","</"]}',
  );
  t.is(canonical(JSON.parse('{"__proto__":{"b":1,"a":-0}}')), '{"__proto__":{"a":0,"b":1}}');
  for (const value of [0.5, Number.NaN, 2 ** 53, 1n, '\ud800', { '\ud800': 1 }, () => 1]) {
    t.throws(() => canonical({ value }), { code: 'ERR_REQUEST' });
  }
});

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
