import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { AddressGuard } from '../../core/origin/address-guard.ts';
import { OriginConnections } from '../../core/origin/origin-connections.ts';
import { TestRegistry, user } from '../../test/warm-up/test-registry.ts';
import { resolveImage } from './resolve-image.ts';
import type { ImageWish } from './resolve-image.ts';
import type { ResolvedImage } from './warm-ups.ts';

const never = new AbortController().signal;

async function resolve(
  t: ExecutionContext,
  wish: Partial<ImageWish> & { readonly image: string },
  guard = new AddressGuard({ allow: ['127.0.0.0/8'] }),
): Promise<ResolvedImage> {
  const clock = new SystemClock();
  const connections = new OriginConnections({ guard, clock });
  t.teardown(async () => connections.close());
  const parts = { connections, clock, random: new SeededRandom(1), log: silentLog };
  return resolveImage({ platforms: [], credentials: undefined, ...wish }, parts, { signal: never });
}

test('resolveImage() finds config and layers of each platform, or of those that are wanted', async (t) => {
  await using registry = await TestRegistry.start();
  const image = registry.add('lab/app', 'v1', { 'linux/amd64': [10, 20], 'linux/arm64': [30] });
  const all = await resolve(t, { image: image.reference });
  const digests = [...image.configs, ...image.layers].map(({ digest }) => digest);
  t.true(all.tasks.every(({ spec }) => digests.includes(spec.digest ?? '')));
  t.is(new Set(all.tasks.map(({ spec }) => spec.digest)).size, digests.length);
  t.is(all.authorization, undefined);
  t.is(all.tasks[0]?.spec.url, `${registry.url}/v2/lab/app/blobs/${all.tasks[0]?.spec.digest}`);
  const one = await resolve(t, { image: image.reference, platforms: ['linux/arm64'] });
  t.is(one.tasks.length, 2);
  t.deepEqual(
    one.tasks.map(({ size }) => size).filter((size) => size === 30),
    [30],
  );
  const byDigest = image.reference.replace(/:v1$/, `@${image.digest}`);
  t.is((await resolve(t, { image: byDigest })).tasks.length, 5);
  await t.throwsAsync(resolve(t, { image: image.reference, platforms: ['windows/amd64'] }), {
    code: 'ERR_NOT_FOUND',
  });
});

test('resolveImage() shows a registry what it asks for, and nothing to another', async (t) => {
  for (const auth of ['basic', 'token'] as const) {
    await using registry = await TestRegistry.start(auth);
    const { reference } = registry.add('lab/app', 'v1', { 'linux/amd64': [10] });
    await t.throwsAsync(resolve(t, { image: reference }), { code: 'ERR_ORIGIN_REFUSED' });
    const wrong = { username: 'alice', password: 'no' };
    await t.throwsAsync(resolve(t, { image: reference, credentials: wrong }), {
      code: 'ERR_ORIGIN_REFUSED',
    });
    const found = await resolve(t, { image: reference, credentials: user });
    t.is(found.authorization?.startsWith(auth === 'basic' ? 'Basic ' : 'Bearer '), true);
    t.true(found.tasks.every(({ isAuthorized }) => isAuthorized));
    if (auth === 'basic') continue;
    const before = registry.tokens;
    t.not(await found.renew({ signal: never }), found.authorization);
    t.is(registry.tokens, before + 1);
  }
});

test('resolveImage() goes nowhere that --origin-allow does not open', async (t) => {
  await using registry = await TestRegistry.start();
  const { reference } = registry.add('lab/app', 'v1', { 'linux/amd64': [10] });
  const closed = new AddressGuard({ allow: [] });
  await t.throwsAsync(resolve(t, { image: reference }, closed), { code: 'ERR_ORIGIN_FORBIDDEN' });
  const own = new AddressGuard({ allow: ['127.0.0.0/8'] });
  own.addOwnPorts([Number(new URL(registry.url).port)]);
  await t.throwsAsync(resolve(t, { image: reference }, own), { code: 'ERR_ORIGIN_FORBIDDEN' });
  t.deepEqual(registry.requests, []);
});

test('resolveImage() refuses a manifest that is not what its digest says, and an image that is not there', async (t) => {
  await using registry = await TestRegistry.start();
  const { reference, digest } = registry.add('lab/app', 'v1', { 'linux/amd64': [10] });
  registry.falsify(digest);
  const byDigest = reference.replace(/:v1$/, `@${digest}`);
  await t.throwsAsync(resolve(t, { image: byDigest }), { code: 'ERR_DIGEST_MISMATCH' });
  const error = await t.throwsAsync(resolve(t, { image: `${registry.url}/lab/app:v9` }), {
    code: 'ERR_ORIGIN_REFUSED',
  });
  t.regex(error.message, /404/);
});
