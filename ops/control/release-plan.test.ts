import test from 'ava';
import * as fc from 'fast-check';
import type { CallTarget } from './call-record.ts';
import { batchesOf, planRelease } from './release-plan.ts';
import type { Batching } from './release-record.ts';

const found = { digest: `sha256:${'a'.repeat(64)}`, url: 'http://packages.example/web.tgz' };
const request = { application: 'web', version: '1.4.2', on: 'all', batches: { count: 4 } };

function hostsIn(idcs: readonly (string | undefined)[]): CallTarget[] {
  return idcs.map((idc, at) => ({ peer: `peer-${at}`, ...(idc === undefined ? {} : { idc }) }));
}

function idcsOf(batch: readonly CallTarget[]): (string | undefined)[] {
  return batch.map(({ idc }) => idc);
}

test('batchesOf() gives each of 4 batches one host of each of 3 idcs', (t) => {
  const idcs = ['a', 'b', 'c', 'c', 'b', 'a', 'b', 'a', 'c', 'c', 'b', 'a'];
  const batches = batchesOf(hostsIn(idcs), { count: 4 });
  t.deepEqual(
    batches.map((batch) => new Set(idcsOf(batch))),
    Array.from({ length: 4 }, () => new Set(['a', 'b', 'c'])),
  );
});

const hosts = fc
  .array(fc.constantFrom('a', 'b', 'c', 'd', undefined), { maxLength: 60 })
  .map(hostsIn);
const rule: fc.Arbitrary<Batching> = fc.oneof(
  fc.record({ count: fc.integer({ min: 1, max: 80 }) }),
  fc.record({ size: fc.integer({ min: 1, max: 80 }) }),
  fc.record({ percent: fc.integer({ min: 1, max: 100 }) }),
);

/** Largest and smallest differ by one at most. */
function isEven(counts: readonly number[]): boolean {
  return Math.max(...counts) - Math.min(...counts) <= 1;
}

function isFair(all: readonly CallTarget[], how: Batching): boolean {
  const batches = batchesOf(all, how);
  const peers = batches.flat().map(({ peer }) => peer);
  if (peers.length !== all.length || new Set(peers).size !== all.length) return false;
  if (batches.some((batch) => batch.length === 0)) return false;
  if (batches.length === 0) return all.length === 0;
  const idcs = [...new Set(idcsOf(all))];
  const shares = idcs.map((idc) =>
    batches.map((batch) => batch.filter((host) => host.idc === idc).length),
  );
  const sizes = batches.map(({ length }) => length);
  return isEven(sizes) && sizes[0] === Math.min(...sizes) && shares.every(isEven);
}

test('batchesOf() has every host once, no batch empty, and all even, in number and in each idc', (t) => {
  fc.assert(fc.property(hosts, rule, isFair));
  t.pass();
});

function isAsAsked(all: readonly CallTarget[], how: Batching): boolean {
  const sizes = batchesOf(all, how).map(({ length }) => length);
  if ('count' in how) return sizes.length === Math.min(how.count, all.length);
  const most = 'size' in how ? how.size : Math.max(1, (all.length * how.percent) / 100);
  return sizes.every((size) => size <= most);
}

test('batchesOf() keeps to what was asked for: their number, their size, their share', (t) => {
  fc.assert(fc.property(hosts, rule, isAsAsked));
  t.pass();
});

test('planRelease() has one digest for one plan: whatever the order and the names of hosts, and no other plan has it', (t) => {
  const all = hostsIn(['a', 'b', 'c', 'a', 'b', 'c', 'a']);
  const { plan } = planRelease(request, { hosts: all, found });
  t.regex(plan, /^sha256:[0-9a-f]{64}$/);
  const renamed = all.toReversed().map((host) => ({ ...host, hostname: 'another' }));
  t.is(planRelease(request, { hosts: renamed, found }).plan, plan);
  const others = [
    planRelease({ ...request, version: '1.4.3' }, { hosts: all, found }),
    planRelease({ ...request, maxFailures: 1 }, { hosts: all, found }),
    planRelease({ ...request, pause: 'none' }, { hosts: all, found }),
    planRelease({ ...request, healthTimeoutMs: 1 }, { hosts: all, found }),
    planRelease({ ...request, installTimeoutMs: 1 }, { hosts: all, found }),
    planRelease({ ...request, batches: { count: 3 } }, { hosts: all, found }),
    planRelease(request, { hosts: all.slice(1), found }),
    planRelease(request, { hosts: all, found: { ...found, digest: `sha256:${'b'.repeat(64)}` } }),
    planRelease(request, { hosts: all, found: { ...found, url: 'http://other.example/' } }),
  ].map((other) => other.plan);
  t.is(new Set([plan, ...others]).size, others.length + 1);
});

test('planRelease() of two ways to divide into the same batches is one plan', (t) => {
  const all = hostsIn(['a', 'b', 'c', 'a', 'b', 'c']);
  const plans = [{ count: 3 }, { size: 2 }, { percent: 34 }].map(
    (batches) => planRelease({ ...request, batches }, { hosts: all, found }).plan,
  );
  t.is(new Set(plans).size, 1);
});
