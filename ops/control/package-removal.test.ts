import { hash } from 'node:crypto';
import test from 'ava';
import { MortalStore } from '../../test/support/mortal-store.ts';
import {
  alice,
  publish,
  reached,
  ReleaseBench,
  start,
  withKey,
} from '../../test/support/release-bench.ts';
import type { Life } from '../../test/support/release-bench.ts';

const CONTENT = Buffer.from('a package');
const DIGEST = `sha256:${hash('sha256', CONTENT)}`;

async function* content(): AsyncGenerator<Uint8Array> {
  yield CONTENT;
}

/** A version whose content is uploaded. */
async function upload({ ops: { uploads } }: Life, name: string, version: string): Promise<void> {
  const facts = { digest: DIGEST, length: CONTENT.length };
  const { signal } = new AbortController();
  await uploads.put(facts, content(), { caller: alice, signal });
  await uploads.publish({ name, version, ...facts }, alice);
}

test('PackageRemoval.remove() takes a version away, and its content with the last version that has it', async (t) => {
  const bench = await ReleaseBench.open(t, ['one']);
  await using life = await bench.live();
  const { removal, uploads, packages, audit } = life.ops;
  await upload(life, 'web', '1');
  await upload(life, 'api', '7');
  t.like(await removal.remove({ name: 'web', version: '1' }, alice), { isFreed: false });
  t.is(uploads.usedBytes, CONTENT.length);
  t.like(await removal.remove({ name: 'api', version: '7' }, alice), { isFreed: true });
  t.is(uploads.usedBytes, 0);
  t.is(await packages.find('web', '1'), undefined);
  const again = removal.remove({ name: 'web', version: '1' }, alice);
  await t.throwsAsync(again, { code: 'ERR_NOT_FOUND' });
  const { records } = await audit.list({ kind: 'package.remove', limit: 10 });
  t.like(records, [
    { object: 'web/1', principal: 'operator', detail: { digest: DIGEST } },
    { object: 'api/7' },
  ]);
  await upload(life, 'web', '1');
  t.is(uploads.usedBytes, CONTENT.length, 'it can be published again');
});

test('PackageRemoval.remove() refuses what a release or a host needs, and who may not', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  const { removal, releases } = life.ops;
  for (const version of ['1', '2', '3']) await publish(life, 'web', version);
  const remove = async (version: string): Promise<object> =>
    removal.remove({ name: 'web', version }, alice);
  const id = await start(life);
  await reached(life, id, 'paused');
  const isOpen = { code: 'ERR_CONFLICT', message: /has not ended/ };
  await t.throwsAsync(remove('2'), isOpen);
  await t.throwsAsync(remove('1'), isOpen, 'the way back leads to it');
  const eve = await withKey(life, 'eve', { verbs: ['package.publish'] });
  const denied = removal.remove({ name: 'web', version: '3' }, eve);
  await t.throwsAsync(denied, { code: 'ERR_DENIED' });
  await releases.control(id, 'continue', alice);
  await reached(life, id, 'done');
  await t.throwsAsync(remove('2'), { code: 'ERR_CONFLICT', message: /2 hosts run it/ });
  await remove('1');
  await remove('3');
  await t.throwsAsync(start(life, { version: '3' }), { code: 'ERR_NOT_FOUND' });
});

test('PackageRemoval.remove() refuses what is owed to a host', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  const [lost, other] = bench.hosts;
  if (lost === undefined || other === undefined) return;
  await publish(life, 'web', '2');
  lost.manner = () => {
    lost.disconnect();
    return undefined;
  };
  const id = await start(life, { batches: { count: 1 }, maxFailures: 1, pause: 'none' });
  await reached(life, id, ({ phase, step }) => {
    if (step === 'install' && other.heard.length > 0) bench.clock.advance(60_000);
    return phase === 'done';
  });
  await life.ops.releases.driver(id)?.idle();
  const removing = life.ops.removal.remove({ name: 'web', version: '2' }, alice);
  await t.throwsAsync(removing, { code: 'ERR_CONFLICT', message: /owes it to 1 hosts/ });
});

test('a supernode that is killed once a version is removed frees its content at the next start', async (t) => {
  const bench = await ReleaseBench.open(t, ['one']);
  const rows = await bench.rows();
  const mortal = new MortalStore(rows, {
    isOnDisk: true,
    isNow: (changes) => changes.some(({ type, key }) => type === 'del' && key === 'package/web/1'),
  });
  const first = await bench.live(mortal);
  await upload(first, 'web', '1');
  void first.ops.removal.remove({ name: 'web', version: '1' }, alice);
  await mortal.died;
  t.is(first.ops.uploads.usedBytes, CONTENT.length);
  await rows.close();
  await using second = await bench.live();
  t.is(second.ops.uploads.usedBytes, 0);
  t.is(await second.ops.packages.find('web', '1'), undefined);
});
