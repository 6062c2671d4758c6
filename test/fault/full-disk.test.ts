import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { mounting } from '../support/mounting-test.ts';
import { Tmpfs } from '../support/tmpfs.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;
const small = { seed: 51, length: 2 * MIB } as const;
const big = { seed: 52, length: 16 * MIB } as const;

async function codeOf(swarm: TestSwarm, host: Engine, url: string): Promise<string> {
  const event = await swarm.download(host, { url });
  return event.type === 'failed' ? event.code : event.type;
}

/** What the data files of a host take of the disk. */
async function diskBytes(host: Engine): Promise<number> {
  let bytes = 0;
  for (const { path } of host.store.tasks()) bytes += (await stat(path)).blocks * 512;
  return bytes;
}

/** After the failure of something else, small content comes as ever. */
async function stillTakesSmall(swarm: TestSwarm, host: Engine): Promise<boolean> {
  swarm.origin.set('/small', { content: small });
  const done = doneOf(await swarm.download(host, { url: swarm.origin.url('/small') }));
  return (await fileDigest(done.path ?? '')) === (await contentDigest(small));
}

for (const through of ['the mesh', 'no supernode'] as const) {
  const mesh = through === 'the mesh' ? {} : { supernodes: [] };

  mounting(
    `content that a host has no room for is refused before its first byte, through ${through}`,
    async (t) => {
      await using swarm = await TestSwarm.start();
      await using disk = await Tmpfs.mount(join(swarm.directory, 'disk'), { mib: 8 });
      swarm.origin.set('/big', { content: big });
      const host = await swarm.host('host', { ...mesh, storeDir: join(disk.path, 'store') });
      t.is(await codeOf(swarm, host, swarm.origin.url('/big')), 'ERR_NO_SPACE');
      // Of unknown length, it is found too big only when some of it is there; that goes first.
      await host.store.sweep();
      t.true((await disk.free()) > 6 * MIB);
      t.true(await stillTakesSmall(swarm, host));
      await host[Symbol.asyncDispose]();
    },
  );

  mounting(
    `content of unknown length ends with the disk, and leaves it usable, through ${through}`,
    async (t) => {
      await using swarm = await TestSwarm.start();
      await using disk = await Tmpfs.mount(join(swarm.directory, 'disk'), { mib: 8 });
      swarm.origin.set('/big', { content: big, framing: 'chunked' });
      const host = await swarm.host('host', { ...mesh, storeDir: join(disk.path, 'store') });
      t.is(await codeOf(swarm, host, swarm.origin.url('/big')), 'ERR_NO_SPACE');
      // Of unknown length, it is found too big only when some of it is there; that goes first.
      await host.store.sweep();
      t.true(await stillTakesSmall(swarm, host));
      await host[Symbol.asyncDispose]();
    },
  );

  mounting(
    `a disk that others fill in mid-download fails it clearly, and room lets it go on, through ${through}`,
    async (t) => {
      await using swarm = await TestSwarm.start();
      // Beside the content and what is kept for opening the journal, room for pieces that came and were not journalled.
      await using disk = await Tmpfs.mount(join(swarm.directory, 'disk'), { mib: 32 });
      const full = Promise.withResolvers<void>();
      const hold = { afterBytes: 4 * MIB, until: full.promise };
      swarm.origin.set('/big', { content: big, hold });
      const url = swarm.origin.url('/big');
      const host = await swarm.host('host', { ...mesh, storeDir: join(disk.path, 'store') });
      const held = Promise.withResolvers<void>();
      let received = 0;
      const downloading = swarm.download(
        host,
        { url },
        {
          onEvent: (event) => {
            if (event.type === 'progress') ({ received } = event);
            if (received >= hold.afterBytes) held.resolve();
          },
        },
      );
      await Promise.race([held.promise, downloading]);
      const ballast = await disk.fill();
      full.resolve();
      const event = await downloading;
      t.is(
        event.type === 'failed' ? event.code : event.type,
        'ERR_NO_SPACE',
        JSON.stringify(event),
      );
      t.is(await codeOf(swarm, host, url), 'ERR_NO_SPACE', 'while it is full');
      await ballast[Symbol.asyncDispose]();

      const done = doneOf(await swarm.download(host, { url }));
      t.is(await fileDigest(done.path ?? ''), await contentDigest(big));
      t.true(done.fromCache >= received - 2 * MIB, `${done.fromCache} of ${received} were kept`);
      await host[Symbol.asyncDispose]();
    },
  );
}

for (const isEvictable of [false, true]) {
  const outcome = isEvictable ? 'make room by what nobody uses' : 'fail the download clearly';
  mounting(`digests that a full disk has no room for ${outcome}`, async (t) => {
    await using swarm = await TestSwarm.start();
    await using disk = await Tmpfs.mount(join(swarm.directory, 'disk'), { mib: 48 });
    swarm.origin.set('/old', { content: { seed: 53, length: 20 * MIB } });
    swarm.origin.set('/big', { content: big });
    const url = swarm.origin.url('/big');
    const host = await swarm.host('host', { storeDir: join(disk.path, 'store') });
    if (isEvictable) doneOf(await swarm.download(host, { url: swarm.origin.url('/old') }));
    // The seed is whole now: all digests come at once, before any piece is asked for.
    doneOf(await swarm.download(await swarm.host('other'), { url }));
    await using stack = new AsyncDisposableStack();
    const create = host.store.create.bind(host.store);
    host.store.create = async (spec) => {
      const task = await create(spec);
      stack.use(await disk.fill());
      return task;
    };
    const event = await swarm.download(host, { url });
    const facts = JSON.stringify(event);
    if (isEvictable) {
      t.is(await fileDigest(doneOf(event).path ?? ''), await contentDigest(big));
    } else t.is(event.type === 'failed' ? event.code : event.type, 'ERR_NO_SPACE', facts);
    await host[Symbol.asyncDispose]();
  });
}

mounting('a seed without room lets a host that has some go to the origin itself', async (t) => {
  await using swarm = await TestSwarm.start();
  await using disk = await Tmpfs.mount(join(swarm.directory, 'disk'), { mib: 8 });
  const { supernode } = swarm;
  await supernode[Symbol.asyncDispose]();
  await swarm.startSupernode({ dataDir: join(disk.path, 'supernode') });
  const host = await swarm.host('host');
  for (const framing of ['length', 'chunked'] as const) {
    swarm.origin.set(`/${framing}`, { content: big, framing });
    const event = await swarm.download(host, { url: swarm.origin.url(`/${framing}`) });
    t.is(event.type, 'done', `${framing}: ${JSON.stringify(event)}`);
    const { path = '', fromOrigin } = doneOf(event);
    t.is(await fileDigest(path), await contentDigest(big));
    t.true(fromOrigin > 0);
  }
  t.true(await stillTakesSmall(swarm, host));
  await swarm.supernode[Symbol.asyncDispose]();
});

mounting('a full seed makes room by what nobody uses', async (t) => {
  await using swarm = await TestSwarm.start();
  await using disk = await Tmpfs.mount(join(swarm.directory, 'disk'), { mib: 12 });
  await swarm.supernode[Symbol.asyncDispose]();
  await swarm.startSupernode({ dataDir: join(disk.path, 'supernode') });
  const host = await swarm.host('host');
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const content = { seed, length: 4 * MIB };
    swarm.origin.set(`/${seed}`, { content });
    const done = doneOf(await swarm.download(host, { url: swarm.origin.url(`/${seed}`) }));
    t.is(await fileDigest(done.path ?? ''), await contentDigest(content));
    t.is(done.fromOrigin, 0);
  }
  await swarm.supernode[Symbol.asyncDispose]();
});

for (const framing of ['length', 'chunked'] as const) {
  test(`a body (${framing}) bigger than the quota is refused, and one that fits makes room`, async (t) => {
    await using swarm = await TestSwarm.start();
    // An answer to a range tells how long the whole is, whatever its framing.
    const route = { framing, ranges: framing === 'length' };
    swarm.origin.set('/big', { content: big, ...route });
    for (const supernodes of [undefined, []]) {
      const options = supernodes === undefined ? {} : { supernodes };
      const name = `host-${supernodes === undefined}`;
      const host = await swarm.host(name, { ...options, quota: 5 * MIB });
      t.true(await stillTakesSmall(swarm, host));
      t.is(await codeOf(swarm, host, swarm.origin.url('/big')), 'ERR_NO_SPACE');
      const bytes = await diskBytes(host);
      t.true(bytes <= 5 * MIB, `${name}: ${bytes} bytes were written`);
      // Of unknown length, it is found too big only when some of it is there; that goes first.
      await host.store.sweep();
      t.true(host.store.usedBytes <= 5 * MIB, `${host.store.usedBytes} bytes are kept`);
      for (const seed of [1, 2, 3]) {
        const content = { seed, length: 3 * MIB };
        swarm.origin.set(`/${seed}`, { content, ...route });
        const done = doneOf(await swarm.download(host, { url: swarm.origin.url(`/${seed}`) }));
        t.is(await fileDigest(done.path ?? ''), await contentDigest(content));
        t.true(host.store.usedBytes <= 5 * MIB, `${host.store.usedBytes} bytes are kept`);
      }
    }
  });
}

mounting('an output on a full disk is told by exit code 5 and leaves nothing behind', async (t) => {
  await using origin = await startOrigin({ routes: { '/f': { content: big } } });
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    const host = cluster.host(1);
    await using disk = await Tmpfs.mount(join(host.folder, 'disk'), { mib: 8 });
    const output = join(disk.path, 'output');
    const refused = await host.dfget(origin.url('/f'), { output });
    t.is(refused.exitCode, 5, refused.stderr);
    t.is(refused.failed?.code, 'ERR_NO_SPACE');
    t.deepEqual(await readdir(disk.path), []);

    // Elsewhere there is room, and the content is here already.
    const elsewhere = await host.dfget(origin.url('/f'));
    t.is(elsewhere.exitCode, 0, elsewhere.stderr);
    t.is(elsewhere.done?.fromCache, big.length);
    t.is(await fileDigest(host.output), await contentDigest(big));
    t.is(origin.stats('/f').bodyBytes, big.length);
  });
});

mounting('a host starts on a disk that others have filled, and makes room there', async (t) => {
  await using swarm = await TestSwarm.start();
  await using disk = await Tmpfs.mount(join(swarm.directory, 'disk'), { mib: 64 });
  swarm.origin.set('/big', { content: big });
  const storeDir = join(disk.path, 'store');
  {
    await using host = await swarm.host('host', { storeDir });
    t.is(await codeOf(swarm, host, swarm.origin.url('/big')), 'done');
  }
  await using _ballast = await disk.fill();
  await using host = await swarm.host('host', { storeDir });
  t.is([...host.store.tasks()].length, 1, 'it has what it had');
  t.deepEqual(host.store.repairs, []);
  t.true(await stillTakesSmall(swarm, host));
});
