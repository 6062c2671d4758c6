import test from 'ava';
import { ManualClock, abortable } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { silentLog } from '../base/log.ts';
import { SeededRandom } from '../base/random.ts';
import type { MeshNode, MeshSession } from '../net/mesh/mesh-node.ts';
import { SupernodeClient } from './supernode-client.ts';
import type { SupernodeClientOptions } from './supernode-client.ts';

const away = new CodedError('ERR_MESH_UNAVAILABLE', 'nobody listens');
const nothing = (): void => undefined;
const never = new AbortController().signal;

/** The part of the mesh that dials: to a supernode that is there, or is not. */
class Dialled {
  isUp = false;
  /** It never answers. */
  isSlow = false;
  dials = 0;
  sent: unknown[] = [];
  says: unknown[] = [];
  end: ((error: CodedError) => void) | undefined;

  async dial(
    _address: string,
    _protocol: string,
    { signal }: { signal: AbortSignal },
  ): Promise<Partial<MeshSession>> {
    this.dials += 1;
    if (this.isSlow) await abortable(new Promise<never>(() => undefined), signal);
    if (!this.isUp) throw away;
    const { says } = this;
    const { promise: closed, resolve } = Promise.withResolvers<CodedError>();
    this.end = resolve;
    return {
      remotePeerId: 'supernode',
      welcome: { v: 1, membership: { type: 'membership', record: 'r', certificates: [], now: 1 } },
      send: (message) => void this.sent.push(message),
      receive: async function* receive() {
        yield* says;
        await closed;
      },
      closed,
      close: async () => resolve(away),
    };
  }

  async disconnect(): Promise<void> {
    this.end = undefined;
  }
}

function begin(options: Partial<SupernodeClientOptions> = {}): {
  clock: ManualClock;
  mesh: Dialled;
  client: SupernodeClient;
} {
  const clock = new ManualClock();
  const mesh = new Dialled();
  const client = new SupernodeClient({
    mesh: mesh as unknown as MeshNode,
    addresses: ['one:1', 'two:2'],
    clock,
    random: new SeededRandom(1),
    log: silentLog,
    hello: () => ({ v: 1, record: '', addresses: [], hostname: 'host' }),
    ensureMember: async () => undefined,
    verifySupernode: nothing,
    isDownloading: () => false,
    onRefused: nothing,
    listener: {
      onConnected: nothing,
      onDisconnected: nothing,
      onMembership: nothing,
      onNow: nothing,
      onUpdate: nothing,
      onCheck: nothing,
      onUnwanted: nothing,
    },
    ...options,
  });
  return { clock, mesh, client };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets time pass in steps in which what is due happens. */
async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    clock.advance(100);
    await settle();
  }
}

test('SupernodeClient.whenConnected() is false once every address was tried in vain, and not before', async (t) => {
  const { mesh, client } = begin();
  const connected = client.whenConnected(60_000, { signal: never });
  client.start();
  t.false(await connected);
  t.is(mesh.dials, 2);
  t.false(await client.whenConnected(60_000, { signal: never }), 'at once');
  await client[Symbol.asyncDispose]();
});

test('SupernodeClient.whenConnected() waits for a supernode that went away, and is true when it is back', async (t) => {
  const { clock, mesh, client } = begin();
  mesh.isUp = true;
  client.start();
  await settle();
  t.true(client.isConnected);
  mesh.isUp = false;
  mesh.end?.(away);
  await settle();
  await pass(clock, 2_000);
  t.true(mesh.dials > 3, 'it was tried in vain');
  let answer: boolean | undefined;
  const connected = client.whenConnected(4_000, { signal: never }).then((is) => (answer = is));
  await pass(clock, 1_000);
  t.is(answer, undefined);
  mesh.isUp = true;
  await pass(clock, 2_500);
  t.true(await connected);
  await client[Symbol.asyncDispose]();
});

test('SupernodeClient.whenConnected() does not wait for ever, and hosts give up at different times', async (t) => {
  const waitedMs = new Set<number>();
  for (let seed = 0; seed < 8; seed += 1) {
    const { clock, mesh, client } = begin({ random: new SeededRandom(seed) });
    mesh.isUp = true;
    client.start();
    await settle();
    mesh.isUp = false;
    mesh.end?.(away);
    await settle();
    const lostMs = clock.monotonic();
    let gaveUpMs = Number.NaN;
    const given = client
      .whenConnected(4_000, { signal: never })
      .then(() => (gaveUpMs = clock.monotonic()));
    await pass(clock, 8_100);
    await given;
    t.true(gaveUpMs - lostMs >= 6_000 && gaveUpMs - lostMs <= 8_100, `${gaveUpMs - lostMs}`);
    waitedMs.add(gaveUpMs - lostMs);
    await client[Symbol.asyncDispose]();
  }
  t.true(waitedMs.size > 3, [...waitedMs].join(' '));
});

test('SupernodeClient.whenConnected() waits for nothing when joining is refused', async (t) => {
  const refusals: CodedError[] = [];
  const { clock, mesh, client } = begin({
    ensureMember: async () => {
      for (const refusal of refusals) throw refusal;
    },
  });
  mesh.isUp = true;
  client.start();
  await settle();
  refusals.push(new CodedError('ERR_TOKEN', 'the record has expired'));
  mesh.end?.(away);
  await pass(clock, 500);
  t.false(await client.whenConnected(4_000, { signal: never }));
  t.is(client.lastError, refusals[0]);
  await client[Symbol.asyncDispose]();
});

test('SupernodeClient fails what was asked when the connection is lost', async (t) => {
  const { mesh, client } = begin();
  mesh.isUp = true;
  client.start();
  await settle();
  const asked = client.askSource('task', 'reason', { signal: never });
  t.like(mesh.sent.at(-1), { type: 'ask-source', task: 'task' });
  mesh.isUp = false;
  mesh.end?.(away);
  await t.throwsAsync(asked, { code: 'ERR_MESH_UNAVAILABLE' });
  const late = client.askSource('task', 'reason', { signal: never });
  await t.throwsAsync(late, { code: 'ERR_MESH_UNAVAILABLE' });
  await client[Symbol.asyncDispose]();
});

/** Milliseconds until hosts of a large cell are back at a supernode that they all lost, from when it is there again. */
async function comebackMs(
  options: {
    readonly isDownloading?: boolean;
    readonly isAwaited?: boolean;
    readonly cell?: number;
    readonly downMs?: number;
    readonly seeds?: number;
  } = {},
): Promise<number[]> {
  const { cell = 1_000, downMs = 0, seeds = 12 } = options;
  const tookMs: number[] = [];
  for (let seed = 0; seed < seeds; seed += 1) {
    const isDownloading = (): boolean => options.isDownloading === true;
    const random = new SeededRandom(seed);
    const { clock, mesh, client } = begin({ random, isDownloading, addresses: ['one:1'] });
    mesh.isUp = true;
    mesh.says = [{ type: 'now', now: 1, hosts: cell }];
    client.start();
    await settle();
    mesh.isUp = downMs === 0;
    mesh.end?.(away);
    await settle();
    await pass(clock, downMs);
    mesh.isUp = true;
    const upMs = clock.monotonic();
    if (options.isAwaited === true) void client.whenConnected(4_000, { signal: never });
    while (!client.isConnected) await pass(clock, 100);
    tookMs.push(clock.monotonic() - upMs);
    await client[Symbol.asyncDispose]();
  }
  return tookMs.toSorted((a, b) => a - b);
}

test('SupernodeClient lets hosts of a large cell come back over a time, those that wait for nothing', async (t) => {
  const idle = await comebackMs();
  t.true((idle[0] ?? 0) < 2_000 && (idle.at(-1) ?? 0) > 6_000, idle.join(' '));
  t.true((idle.at(-1) ?? 0) <= 8_200, idle.join(' '));
});

test('SupernodeClient comes back early while it downloads, or somebody waits for it', async (t) => {
  const downloading = await comebackMs({ isDownloading: true });
  t.true((downloading.at(-1) ?? 0) <= 2_300, downloading.join(' '));
  const awaited = await comebackMs({ isAwaited: true });
  t.true((awaited.at(-1) ?? 0) <= 2_300, awaited.join(' '));
});

test('SupernodeClient comes back evenly to a supernode that was away for seconds', async (t) => {
  const idle = await comebackMs({ downMs: 3_000, seeds: 40 });
  t.true((idle.at(-1) ?? 0) <= 8_300, idle.join(' '));
  // A quarter of the time: a quarter of the hosts, more or less; drawn anew at each attempt it would be half.
  const early = idle.filter((ms) => ms <= 2_000).length;
  t.true(early >= 5 && early <= 14, idle.join(' '));
  const downloading = await comebackMs({ downMs: 3_000, isDownloading: true });
  t.true((downloading.at(-1) ?? 0) <= 2_300, downloading.join(' '));
});

test('SupernodeClient that downloads in a small cell is back half a second after its supernode', async (t) => {
  const downloading = await comebackMs({ downMs: 6_000, isDownloading: true, cell: 20 });
  t.true((downloading.at(-1) ?? 0) <= 700, downloading.join(' '));
});

test('SupernodeClient gives a supernode that came back more time than one that it never heard of', async (t) => {
  for (const [wasThere, patienceMs] of [
    [false, 5_000],
    [true, 10_000],
  ] as const) {
    const { clock, mesh, client } = begin({ addresses: ['one:1'] });
    mesh.isUp = wasThere;
    mesh.isSlow = !wasThere;
    client.start();
    await settle();
    mesh.isSlow = true;
    mesh.end?.(away);
    while (mesh.dials < (wasThere ? 2 : 1)) await pass(clock, 100);
    const { dials } = mesh;
    await pass(clock, patienceMs - 500);
    t.is(mesh.dials, dials, 'still waiting for the first');
    await pass(clock, 1_500);
    t.is(mesh.dials, dials + 1);
    await client[Symbol.asyncDispose]();
  }
});
