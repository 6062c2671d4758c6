import test from 'ava';
import { eventually } from '../../bench/cluster/eventually.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { DownloadEvent } from '../../core/swarm/download-events.ts';
import { withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;
/** Requests to one host of origins at a time. */
const PLACES = 16;
const warm = Array.from({ length: 8 }, (_item, at) => ({ seed: 10 + at, length: 24 * MIB }));
const release = { seed: 9, length: 16 * MIB };
const supernodeArgs = ['--upload-limit', '4MB/s'];

test.serial(
  'a release gets most of what a seed sends amid eight warm-ups, which go on all the same',
  async (t) => {
    const paths: [string, typeof release][] = [['/release', release]];
    for (const [at, content] of warm.entries()) paths.push([`/warm-${at}`, content]);
    const routes = Object.fromEntries(paths.map(([path, content]) => [path, { content }]));
    await using origin = await startOrigin({ routes });
    await withCluster(t, { hosts: 1, supernodeArgs }, async (cluster) => {
      const host = cluster.host(1);
      const stop = new AbortController();
      const { signal } = stop;
      const received = warm.map(() => 0);
      const moving = Promise.withResolvers<void>();
      const onWarm = (at: number, event: DownloadEvent): void => {
        if (event.type === 'failed' && !signal.aborted) moving.reject(new Error(event.message));
        if (event.type !== 'progress') return;
        received[at] = event.received;
        if (received.every((bytes) => bytes > 0)) moving.resolve();
      };
      const runs = warm.map(async (_content, at) => {
        const request = { url: origin.url(`/warm-${at}`), priority: 'warm-up' } as const;
        for await (const event of host.download(request, { signal })) onWarm(at, event);
      });
      await moving.promise;

      const sum = (): number => received.reduce((all, bytes) => all + bytes, 0);
      const digest = await contentDigest(release);
      const request = { url: origin.url('/release'), digest, priority: 'release' } as const;
      let before = 0;
      let last: DownloadEvent | undefined;
      for await (const event of host.download(request)) {
        if (event.type === 'started') before = sum();
        last = event;
      }
      const meanwhile = sum() - before;
      t.like(last, { type: 'done', fromSeed: release.length });
      // By weight it were 64 of 65, and 1 of 9 without classes. What had been asked for before is part of it.
      const share = release.length / (release.length + meanwhile);
      t.log({ before, meanwhile, share });
      t.true(share > 0.6, `${share}`);
      t.true(meanwhile > 0, 'warm-ups move while the release does');
      stop.abort();
      await Promise.allSettled(runs);
    });
  },
);

test.serial(
  'a release that its host reads from an origin itself needs no place that warm-ups have',
  async (t) => {
    // Each is read by several requests, more than may be under way to one host, which do not end meanwhile.
    const slow = { bytesPerSecond: 16_384 };
    const slowly = warm.map((content, at) => [`/warm-${at}`, { content, ...slow }] as const);
    const routes = { ...Object.fromEntries(slowly), '/release': { content: release } };
    await using origin = await startOrigin({ routes });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      const stop = new AbortController();
      const { signal } = stop;
      const pattern = 'source';
      const warming = warm.map(async (_content, at) => {
        const request = { url: origin.url(`/warm-${at}`), priority: 'warm-up', pattern } as const;
        for await (const event of host.download(request, { signal })) void event;
      });
      const haveAll = (): true | undefined => {
        const asked = warm.map((_content, at) => origin.stats(`/warm-${at}`).requests);
        return asked.reduce((sum, own) => sum + own, 0) >= PLACES - 1 ? true : undefined;
      };
      await eventually('warm-ups have all places but one', haveAll, { signal });
      const which = { url: origin.url('/release'), priority: 'release', pattern } as const;
      const request = { ...which, timeoutMs: 60_000 };
      let last: DownloadEvent | undefined;
      for await (const event of host.download(request)) last = event;
      t.like(last, { type: 'done', fromOrigin: release.length });
      stop.abort();
      await Promise.allSettled(warming);
    });
  },
);
