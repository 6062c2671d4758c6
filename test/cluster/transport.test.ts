import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';

const content = { seed: 31, length: 24 * 1024 * 1024 } as const;

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

for (const encryption of ['tls', 'none'] as const) {
  for (const workers of [1, 3]) {
    test.serial(
      `four hosts trade pieces over links with encryption ${encryption} and ${workers} workers each`,
      async (t) => {
        await using swarm = await TestSwarm.start({ supernode: { encryption, workers } });
        swarm.origin.set('/f', { content });
        const names = ['a', 'b', 'c', 'd'];
        const hosts = await Promise.all(
          names.map(async (name) => swarm.host(name, { encryption, workers })),
        );
        const url = swarm.origin.url('/f');
        const all = await Promise.all(hosts.map(async (host) => swarm.download(host, { url })));
        for (const event of all) {
          t.is(await digestOf(doneOf(event).path ?? ''), await contentDigest(content));
        }
        t.is(swarm.origin.stats('/f').bodyBytes, content.length);
        t.true(all.some((event) => doneOf(event).fromPeers > 0));
      },
    );
  }
}

test.serial(
  'a second program on the link port is refused, also when workers share it',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const first = await swarm.host('first', { workers: 2 });
    const port = first.pool.linkPort ?? 0;
    const listen = { host: '127.0.0.1', port };
    await t.throwsAsync(swarm.host('second', { workers: 2, listen }), {
      code: 'ERR_ADDRESS_IN_USE',
    });
    await t.throwsAsync(swarm.host('third', { workers: 1, listen }), {
      code: 'ERR_ADDRESS_IN_USE',
    });
  },
);

test.serial(
  'a host that speaks in the clear and one that does not cannot link, and both still finish',
  async (t) => {
    await using swarm = await TestSwarm.start();
    swarm.origin.set('/f', { content });
    const url = swarm.origin.url('/f');
    const plain = await swarm.host('plain', { encryption: 'none' });
    const event = await swarm.download(plain, { url, timeoutMs: 8_000 });
    // Nobody to take from: the reason is told, and nothing wrong is kept.
    t.is(event.type, 'failed');
    const other = await swarm.host('other');
    t.is(
      await digestOf(doneOf(await swarm.download(other, { url })).path ?? ''),
      await contentDigest(content),
    );
  },
);
