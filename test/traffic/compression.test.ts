import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import test from 'ava';
import type { CompressionStats } from '../../core/compression/compression-stats.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';

const MIB = 1024 * 1024;
/** Lines that repeat now and then, as those of programs and logs do. */
const text = Buffer.from(
  Array.from(
    { length: 40_000 },
    (_item, line) => `${randomBytes(6).toString('hex')} and line ${line}\n`,
  )
    .join('')
    .padEnd(2 * MIB, 'the end; '),
);

async function take(swarm: TestSwarm, host: Engine, path: string): Promise<Buffer> {
  const before = (await counts(host)).savedInBytes;
  const done = doneOf(await swarm.download(host, { url: swarm.origin.url(path) }));
  const saved = done.explain?.sources.reduce((sum, { savedBytes = 0 }) => sum + savedBytes, 0);
  if (saved !== (await counts(host)).savedInBytes - before) throw new Error('--explain is wrong');
  return done.path === undefined ? Buffer.alloc(0) : readFile(done.path);
}

async function counts(host: { readonly pool: Engine['pool'] }): Promise<CompressionStats> {
  return (await host.pool.stats()).compression;
}

test('content goes compressed where that pays, and nothing is spent on what is compressed already', async (t) => {
  await using swarm = await TestSwarm.start({ supernode: { uploadRate: MIB } });
  const gzip = Buffer.concat([Buffer.from('1f8b0800', 'hex'), randomBytes(MIB / 2)]);
  const headers = { 'content-type': 'application/zip' };
  swarm.origin.set('/text', { content: { bytes: text } });
  swarm.origin.set('/gzip', { content: { bytes: gzip } });
  swarm.origin.set('/zip', { content: { bytes: text.subarray(0, MIB / 2) }, headers });
  const raw = await swarm.host('raw', { compression: 'off' });
  const one = await swarm.host('one');

  t.true((await take(swarm, one, '/gzip')).equals(gzip));
  t.true((await take(swarm, one, '/zip')).equals(text.subarray(0, MIB / 2)));
  t.like(await counts(swarm.supernode), { triedBytes: 0, savedOutBytes: 0 });

  t.true((await take(swarm, raw, '/text')).equals(text));
  t.like(await counts(raw), { savedInBytes: 0, decompressMs: 0, savedOutBytes: 0 });
  // What a busy machine compresses too late for one host is there for the next.
  const takers: Engine[] = [];
  let saved = 0;
  while (saved === 0) {
    const host = await swarm.host(`taker-${takers.length}`);
    t.true((await take(swarm, host, '/text')).equals(text));
    takers.push(host);
    saved = (await counts(host)).savedInBytes;
  }
  t.log({ saved, takers: takers.length, seed: await counts(swarm.supernode) });
  t.true((await counts(swarm.supernode)).triedBytes <= text.length);
});
