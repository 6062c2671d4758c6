import { createHash } from 'node:crypto';
import test from 'ava';
import { seededBytes } from '../origin/content.ts';
import { Tracker, bencode, makeTorrent } from './swarm-torrent.ts';

test('bencode() writes what BEP 3 says, keys in order', (t) => {
  t.is(bencode({ spam: ['a', 42], bar: 'xyz' }).toString(), 'd3:bar3:xyz4:spaml1:ai42eee');
  t.is(bencode(Buffer.from([1, 2])).toString('hex'), Buffer.from('2:\x01\x02').toString('hex'));
});

test('makeTorrent() bears the sha1 of every piece, the last one shorter', async (t) => {
  const shape = { name: 'output', length: 10_000, pieceLength: 4096 };
  const torrent = await makeTorrent(
    { seed: 3, length: 10_000 },
    { ...shape, announce: 'http://x/' },
  );
  const pieces = [0, 4096, 8192].map((start) =>
    createHash('sha1')
      .update(seededBytes(3, start, Math.min(10_000, start + 4096)))
      .digest(),
  );
  t.true(torrent.includes(Buffer.concat([Buffer.from('6:pieces60:'), ...pieces])));
  t.true(torrent.includes('4:name6:output12:piece lengthi4096e'));
});

test('Tracker tells each peer of the others, and when who had all', async (t) => {
  await using tracker = await Tracker.start('127.0.0.1');
  const ask = async (query: string): Promise<Buffer> =>
    Buffer.from(await (await fetch(`${tracker.announceUrl}?${query}`)).arrayBuffer());
  t.true((await ask('ip=10.0.0.1&port=6881&event=started')).includes('5:peers0:'));
  const second = await ask('ip=10.0.0.2&port=6881&event=started');
  t.true(
    second.includes(Buffer.concat([Buffer.from('5:peers6:'), Buffer.from([10, 0, 0, 1, 26, 225])])),
  );
  t.deepEqual([...tracker.known], ['10.0.0.1', '10.0.0.2']);
  await ask('ip=10.0.0.2&port=6881&event=completed');
  t.deepEqual([...tracker.completed.keys()], ['10.0.0.2']);
  await ask('ip=10.0.0.1&port=6881&event=stopped');
  t.deepEqual([...tracker.known], ['10.0.0.2']);
});
