import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { SeededRandom } from '../base/random.ts';
import { Bitfield } from '../piece/bitfield.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { Parent } from '../wire/messages.ts';
import { ParentLink } from './parent-link.ts';
import type { ParentLinkContext, ParentLinkEvents } from './parent-link.ts';
import { ParentLinks } from './parent-links.ts';
import type { ChannelListener, RemoteChannel, TransferPool } from './transfer-pool.ts';

const gone = new CodedError('ERR_LINK', 'gone');

/** The part of the pool that opens channels, each as the test says. */
class ChannelPool {
  readonly opened: {
    readonly peer: string;
    readonly listener: ChannelListener;
    readonly end: (error: CodedError) => void;
    isClosed: boolean;
    manifests: number;
  }[] = [];
  readonly #answer: () => Promise<void>;

  constructor(answer: () => Promise<void> = async () => undefined) {
    this.#answer = answer;
  }

  async openChannel(
    to: { readonly peer: string },
    { listener }: { readonly listener: ChannelListener },
  ): Promise<Partial<RemoteChannel>> {
    const { promise: closed, resolve } = Promise.withResolvers<CodedError>();
    await this.#answer();
    const channel = { peer: to.peer, listener, end: resolve, isClosed: false, manifests: 0 };
    this.opened.push(channel);
    return {
      pieces: [0, 2],
      address: 'there:1',
      closed,
      askManifest: async () => void (channel.manifests += 1),
      close: async () => void (channel.isClosed = true),
    };
  }
}

function contextOf(pool: ChannelPool): {
  clock: ManualClock;
  controller: AbortController;
  context: ParentLinkContext;
} {
  const clock = new ManualClock();
  const controller = new AbortController();
  const context: ParentLinkContext = {
    pool: pool as unknown as TransferPool,
    task: { pieces: new Bitfield(4) } as unknown as StoredTask,
    clock,
    random: new SeededRandom(1),
    signal: controller.signal,
    rate: new SharedArrayBuffer(8),
    farRate: () => undefined,
    ticket: () => 'ticket',
    idc: () => 'here',
    wantsManifest: () => false,
  };
  return { clock, controller, context };
}

const events: ParentLinkEvents = {
  onChange: () => undefined,
  onOpened: () => undefined,
  onClosed: () => undefined,
  onNews: () => undefined,
  onLacks: () => undefined,
  onForgiven: () => undefined,
  onManifest: () => undefined,
  onWasted: () => undefined,
};

function parentOf(peer: string, role: 'peer' | 'seed' = 'peer'): Parent {
  return { peer, role, addresses: [`${peer}:1`] };
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('ParentLink opens a channel and knows what the parent has', async (t) => {
  const pool = new ChannelPool();
  const { context } = contextOf(pool);
  const link = new ParentLink(parentOf('a'), context, events);
  t.true(link.isResting);
  link.ensureOpen();
  link.ensureOpen();
  await settle();
  t.is(pool.opened.length, 1);
  t.true(link.isOpen);
  t.deepEqual(
    [0, 1, 2, 3].filter((piece) => link.has(piece)),
    [0, 2],
  );
  pool.opened[0]?.listener.onHave({ pieces: [3, 99], offers: [], load: 0 });
  pool.opened[0]?.listener.onUnhave([0]);
  t.deepEqual(
    [0, 1, 2, 3].filter((piece) => link.has(piece)),
    [2, 3],
  );
});

test('ParentLink closes a channel that opened when nobody wanted it any more', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const end of ['abort', 'close']) {
    const pool = new ChannelPool(async () => promise);
    const { context, controller } = contextOf(pool);
    const link = new ParentLink(parentOf('a'), context, events);
    link.ensureOpen();
    if (end === 'abort') controller.abort();
    else await link.close();
    resolve();
    await settle();
    t.true(pool.opened[0]?.isClosed, end);
    t.false(link.isOpen);
  }
});

test('ParentLink opens again when the channel is lost, later each time', async (t) => {
  let isUp = true;
  const triedMs: number[] = [];
  const pool = new ChannelPool(async () => {
    triedMs.push(clock.monotonic());
    if (!isUp) throw gone;
  });
  const { context, clock } = contextOf(pool);
  const link = new ParentLink(parentOf('a'), context, events);
  link.ensureOpen();
  await settle();
  isUp = false;
  pool.opened[0]?.end(gone);
  await settle();
  t.false(link.isOpen);
  t.is(link.lastError, gone);
  for (let ms = 0; ms < 60_000; ms += 125) {
    link.ensureOpen();
    await settle();
    clock.advance(125);
  }
  const waits = triedMs.slice(1).map((ms, index) => ms - (triedMs[index] ?? 0));
  t.true((waits[0] ?? 0) <= 375, waits.join(' '));
  t.true(
    waits.slice(6).every((ms) => ms >= 2_500 && ms <= 5_125),
    waits.join(' '),
  );
  t.true(link.isFailing);
  isUp = true;
  clock.advance(5_000);
  link.ensureOpen();
  await settle();
  t.true(link.isOpen);
  t.false(link.isFailing);
});

test('ParentLink asks again for what it was not given, when told to forgive', async (t) => {
  const pool = new ChannelPool();
  const { context } = contextOf(pool);
  const link = new ParentLink(parentOf('a'), context, events);
  link.ensureOpen();
  await settle();
  link.lacks(0);
  link.lacks(1);
  link.lacks(2);
  pool.opened[0]?.listener.onUnhave([2]);
  t.false(link.has(0));
  link.forgive();
  t.deepEqual(
    [0, 1, 2, 3].filter((piece) => link.has(piece)),
    [0],
  );
});

test('ParentLink asks for the manifest when no supernode passes it on', async (t) => {
  const pool = new ChannelPool();
  const { context } = contextOf(pool);
  const link = new ParentLink(parentOf('a'), { ...context, wantsManifest: () => true }, events);
  link.ensureOpen();
  await settle();
  t.is(pool.opened[0]?.manifests, 1);
});

test('ParentLink rests while it is busy, and once it sent a wrong piece', async (t) => {
  const pool = new ChannelPool();
  const { context, clock } = contextOf(pool);
  const link = new ParentLink(parentOf('a'), context, events);
  link.ensureOpen();
  await settle();
  t.false(link.isResting);
  link.busyFor(100);
  t.true(link.isResting);
  clock.advance(100);
  t.false(link.isResting);
  link.sentWrong();
  t.true(link.isBanned);
  t.true(link.isResting);
});

test('ParentLink leaves a seed that sent wrong pieces alone for a while, longer each time', async (t) => {
  const pool = new ChannelPool();
  const { context, clock } = contextOf(pool);
  const link = new ParentLink(parentOf('a', 'seed'), context, events);
  link.ensureOpen();
  await settle();
  for (const quarantineMs of [10_000, 20_000, 40_000]) {
    // All that was asked for at the same time is wrong.
    for (let piece = 0; piece < 4; piece += 1) link.sentWrong();
    clock.advance(quarantineMs - 1);
    t.true(link.isResting);
    clock.advance(1);
    t.false(link.isBanned);
    t.false(link.isResting);
  }
});

test('ParentLink asks no host that sent a wrong piece again', async (t) => {
  const pool = new ChannelPool();
  const { context, clock } = contextOf(pool);
  const link = new ParentLink(parentOf('a'), context, events);
  link.ensureOpen();
  await settle();
  link.sentWrong();
  clock.advance(24 * 3_600_000);
  t.true(link.isBanned);
});

test('ParentLinks holds a bounded number, and drops what is of no use for what may be', async (t) => {
  let isUp = true;
  const pool = new ChannelPool(async () => {
    if (!isUp) throw gone;
  });
  const { context } = contextOf(pool);
  const links = new ParentLinks(context, events);
  links.add(parentOf('seed', 'seed'));
  for (let index = 0; index < 63; index += 1) links.add(parentOf(`host-${index}`));
  for (const link of links.all().slice(0, 63)) link.ensureOpen();
  await settle();
  isUp = false;
  links.add(parentOf('one too many'));
  t.is(links.get('one too many'), undefined);
  links.get('host-62')?.ensureOpen();
  await settle();
  t.is(links.open().length, 63);
  links.add(parentOf('newcomer'));
  t.is(links.get('host-62'), undefined);
  t.not(links.get('newcomer'), undefined);
  t.is(links.all().length, 64);
  await links.close();
  t.true(pool.opened.every(({ isClosed }) => isClosed));
});

test('ParentLinks.add() takes over where a known parent is now', (t) => {
  const { context } = contextOf(new ChannelPool());
  const links = new ParentLinks(context, events);
  links.add(parentOf('a'));
  links.add({ ...parentOf('a'), addresses: ['elsewhere:2'] });
  t.is(links.all().length, 1);
  t.is(links.get('a')?.address, 'elsewhere:2');
});

test('ParentLink.isFar is true for a parent that stands in another idc, if both are known', (t) => {
  const { context } = contextOf(new ChannelPool());
  const isFar = (idc: string | undefined, own: string | undefined): boolean => {
    const parent = { ...parentOf('a'), ...(idc === undefined ? {} : { idc }) };
    return new ParentLink(parent, { ...context, idc: () => own }, events).isFar;
  };
  t.true(isFar('there', 'here'));
  t.false(isFar('here', 'here'));
  t.false(isFar(undefined, 'here'));
  t.false(isFar('there', undefined));
});
