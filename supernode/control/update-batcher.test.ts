import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { encodeFrame } from '../../core/net/mesh/frame-codec.ts';
import { defaultMeshLimits } from '../../core/net/mesh/mesh-limits.ts';
import { FromSupernode } from '../../core/wire/messages.ts';
import type { Parent, Update } from '../../core/wire/messages.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { UpdateBatcher } from './update-batcher.ts';

const about = { task: 'a'.repeat(64), version: 'b'.repeat(16) };
const other = { task: 'c'.repeat(64), version: 'd'.repeat(16) };
const parse = parser(FromSupernode);

function parentOf(host: number, addresses = 1): Parent {
  const { peerId: peer } = HostKey.generate();
  const address = `host-${host}.${'x'.repeat(280)}:65002`;
  return { peer, addresses: Array.from({ length: addresses }, () => address), role: 'peer' };
}

/** What was sent, each checked as the mesh and the host check it. */
function outlet(): { readonly sent: Update[]; readonly send: (update: Update) => Promise<void> } {
  const sent: Update[] = [];
  const send = async (update: Update): Promise<void> => {
    const text = JSON.stringify(update);
    encodeFrame('message', text, defaultMeshLimits.maxFrameBytes);
    parse(JSON.parse(text));
    sent.push(update);
  };
  return { sent, send };
}

/** Lets everything that is under way without a timer come to its end. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('UpdateBatcher gathers what comes within a moment into one message a version', async (t) => {
  const clock = new ManualClock();
  const { sent, send } = outlet();
  const batcher = new UpdateBatcher(clock, send);
  const parent = parentOf(1);
  batcher.manifest(about, ['one']);
  batcher.manifest(about, ['one', 'two']);
  batcher.parent(about, parent);
  batcher.parent(about, { ...parent, role: 'seed' });
  batcher.more(about, { ticket: 'early' });
  batcher.more(about, { ticket: 'late' });
  batcher.manifest(other, ['three']);
  await settled();
  t.deepEqual(sent, []);
  clock.advance(15);
  await settled();
  t.deepEqual(sent, [
    {
      type: 'update',
      ...about,
      manifest: ['one', 'two'],
      parents: [{ ...parent, role: 'seed' }],
      ticket: 'late',
    },
    { type: 'update', ...other, manifest: ['three'] },
  ]);
  clock.advance(1_000);
  await settled();
  t.is(sent.length, 2, 'nothing is said twice');
});

test('UpdateBatcher sends batches in messages that fit a frame, in order, whatever their sizes', async (t) => {
  const clock = new ManualClock();
  const { sent, send } = outlet();
  const batcher = new UpdateBatcher(clock, send);
  const sizes = [300_000, 900_000, 200_000, 200_000, 900_000, 400_000, ...Array(5_000).fill(500)];
  const batches = sizes.map((size: number, index) => `${index}.`.padEnd(size, 'x'));
  for (const batch of batches) batcher.manifest(about, [batch]);
  for (let host = 0; host < 40; host += 1) batcher.parent(about, parentOf(host, 16));
  batcher.more(about, { failed: { code: 'ERR_ORIGIN_FAILING', message: 'gone'.repeat(1_000) } });
  clock.advance(15);
  await settled();
  t.deepEqual(
    sent.flatMap(({ manifest = [] }) => manifest),
    batches,
  );
  t.is(sent.flatMap(({ parents = [] }) => parents).length, 40);
  t.is(sent.filter(({ failed }) => failed !== undefined).length, 1);
});

test('UpdateBatcher keeps no more parents than a host takes', async (t) => {
  const clock = new ManualClock();
  const { sent, send } = outlet();
  const batcher = new UpdateBatcher(clock, send);
  for (let host = 0; host < 100; host += 1) batcher.parent(about, parentOf(host));
  clock.advance(15);
  await settled();
  t.deepEqual(
    sent.map(({ parents = [] }) => parents.length),
    [64],
  );
});

test('UpdateBatcher says the next only when the last was taken, and gathers meanwhile', async (t) => {
  const clock = new ManualClock();
  const sent: Update[] = [];
  let taken = Promise.withResolvers<void>();
  const batcher = new UpdateBatcher(clock, async (update) => {
    sent.push(update);
    await taken.promise;
  });
  batcher.manifest(about, ['one']);
  clock.advance(15);
  await settled();
  for (const batch of ['two', 'three']) {
    batcher.manifest(about, [batch]);
    clock.advance(15);
    await settled();
  }
  t.is(sent.length, 1);
  taken.resolve();
  taken = Promise.withResolvers<void>();
  await settled();
  t.deepEqual(
    sent.map(({ manifest }) => manifest),
    [['one'], ['two', 'three']],
  );
});

test('UpdateBatcher gives a host up that takes nothing, and keeps nothing for it', async (t) => {
  const clock = new ManualClock();
  const ends: CodedError[] = [];
  const sent: Update[] = [];
  const never = Promise.withResolvers<void>().promise;
  const batcher = new UpdateBatcher(
    clock,
    async (update) => {
      sent.push(update);
      await never;
    },
    { maxCharacters: 1_000, onFull: (error) => ends.push(error) },
  );
  batcher.manifest(about, ['x'.repeat(600)]);
  clock.advance(15);
  await settled();
  batcher.manifest(other, ['y'.repeat(600)]);
  batcher.manifest(other, ['z'.repeat(600)]);
  t.deepEqual(
    ends.map(({ code }) => code),
    ['ERR_BUSY'],
  );
  batcher.manifest(other, ['z'.repeat(2_000)]);
  t.is(ends.length, 1, 'it is said once');
  clock.advance(1_000);
  await settled();
  t.is(sent.length, 1);
});

test('UpdateBatcher sends nothing once it is closed, nor after a message that could not be sent', async (t) => {
  const clock = new ManualClock();
  const sent: Update[] = [];
  const batcher = new UpdateBatcher(clock, async (update) => {
    sent.push(update);
    throw new CodedError('ERR_LINK', 'the host is gone');
  });
  batcher.manifest(about, ['one']);
  batcher.manifest(other, ['two']);
  clock.advance(15);
  await settled();
  t.is(sent.length, 1);
  batcher.close();
  batcher.manifest(about, ['three']);
  clock.advance(1_000);
  await settled();
  t.is(sent.length, 1);
});

test('UpdateBatcher says at once what comes after a silence, and the next no sooner than after a moment', async (t) => {
  const clock = new ManualClock();
  const { sent, send } = outlet();
  const batcher = new UpdateBatcher(clock, send);
  const said = async (ms: number): Promise<string> => {
    clock.advance(ms);
    await settled();
    return sent.flatMap(({ manifest = [] }) => manifest).join(' ');
  };
  batcher.manifest(about, ['one']);
  t.is(await said(0), 'one');
  batcher.manifest(about, ['two']);
  t.is(await said(14), 'one');
  t.is(await said(1), 'one two');
  await said(20);
  batcher.manifest(about, ['three']);
  t.is(await said(0), 'one two three');
  t.is(sent.length, 3);
});

test('UpdateBatcher lets digests wait for others for as long as it is told, but nothing else', async (t) => {
  const clock = new ManualClock();
  const { sent, send } = outlet();
  const batcher = new UpdateBatcher(clock, send);
  batcher.manifest(about, ['zero'], { withinMs: 200 });
  clock.advance(0);
  await settled();
  t.is(sent.length, 1, 'nothing left for long');
  sent.length = 0;
  batcher.manifest(about, ['one'], { withinMs: 200 });
  clock.advance(150);
  batcher.manifest(about, ['two'], { withinMs: 200 });
  clock.advance(49);
  await settled();
  t.deepEqual(sent, []);
  clock.advance(1);
  await settled();
  t.deepEqual(sent, [{ type: 'update', ...about, manifest: ['one', 'two'] }]);
  batcher.manifest(about, ['three'], { withinMs: 200 });
  batcher.more(about, { ticket: 'fresh' });
  clock.advance(15);
  await settled();
  t.deepEqual(sent[1], { type: 'update', ...about, ticket: 'fresh', manifest: ['three'] });
  batcher.manifest(about, ['four'], { withinMs: 1 });
  clock.advance(14);
  await settled();
  t.is(sent.length, 2);
  clock.advance(200);
  await settled();
  t.is(sent.length, 3);
});
