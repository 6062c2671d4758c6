import test from 'ava';
import { ManualClock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import { Dialler } from './dialler.ts';
import type { DialAttempt } from './dialler.ts';
import { defaultLinkLimits } from './limits.ts';
import type { Link } from './link.ts';

interface Attempt {
  readonly host: string;
  readonly signal: AbortSignal;
  readonly settle: { resolve: (link: Link) => void; reject: (error: Error) => void };
}

const link = { peerId: 'p' } as Link;

function make(maxDials = 64): { dialler: Dialler; attempts: Attempt[]; clock: ManualClock } {
  const attempts: Attempt[] = [];
  const clock = new ManualClock();
  const attempt: DialAttempt = async ({ address }, { signal }) => {
    const settle = Promise.withResolvers<Link>();
    signal.addEventListener('abort', () => settle.reject(CodedError.from(signal.reason)));
    attempts.push({ host: address.host, signal, settle });
    return settle.promise;
  };
  const dialler = new Dialler({ clock, limits: { ...defaultLinkLimits, maxDials }, attempt });
  return { dialler, attempts, clock };
}

async function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const peer = { peerId: 'p', addresses: ['10.0.0.1:1', 'nonsense', '[fe80::2]:2', '10.0.0.3:3'] };

test('Dialler dials once however many ask, and tells them all', async (t) => {
  const { dialler, attempts } = make();
  const asking = [1, 2, 3].map(async () => dialler.dial(peer, {}));
  t.is(attempts.length, 1);
  attempts[0]?.settle.resolve(link);
  t.deepEqual(await Promise.all(asking), [link, link, link]);
  const again = dialler.dial(peer, {});
  t.is(attempts.length, 2);
  attempts[1]?.settle.resolve(link);
  await again;
});

test('Dialler tries the next address when one fails or takes its time, and gives up the rest', async (t) => {
  const { dialler, attempts, clock } = make();
  const asking = dialler.dial(peer, {});
  clock.advance(249);
  t.deepEqual(
    attempts.map(({ host }) => host),
    ['10.0.0.1'],
  );
  clock.advance(1);
  t.deepEqual(
    attempts.map(({ host }) => host),
    ['10.0.0.1', 'fe80::2'],
  );
  attempts[1]?.settle.reject(new CodedError('ERR_LINK', 'no route'));
  await turn();
  t.is(attempts.length, 3);
  attempts[2]?.settle.resolve(link);
  t.is(await asking, link);
  t.true(attempts[0]?.signal.aborted);
});

test('Dialler fails with what says most when no address answers', async (t) => {
  const { dialler, attempts } = make();
  const asking = dialler.dial(peer, {});
  for (const [place, code] of (['ERR_LINK', 'ERR_NOT_MEMBER', 'ERR_LINK'] as const).entries()) {
    attempts[place]?.settle.reject(new CodedError(code, 'refused'));
    await turn();
  }
  await t.throwsAsync(asking, { code: 'ERR_NOT_MEMBER' });
});

test('Dialler goes on for those who wait when one gives up, and stops when the last one does', async (t) => {
  const { dialler, attempts } = make();
  const [first, second] = [new AbortController(), new AbortController()];
  const one = dialler.dial(peer, { signal: first.signal });
  const two = dialler.dial(peer, { signal: second.signal });
  first.abort();
  await t.throwsAsync(one, { code: 'ERR_INTERRUPTED' });
  t.false(attempts[0]?.signal.aborted);
  second.abort();
  await t.throwsAsync(two, { code: 'ERR_INTERRUPTED' });
  t.true(attempts[0]?.signal.aborted);
});

test('Dialler refuses a peer without addresses, and more dials than its limit', async (t) => {
  const { dialler } = make(1);
  const none = { peerId: 'q', addresses: ['nonsense'] };
  await t.throwsAsync(dialler.dial(none, {}), { code: 'ERR_LINK' });
  const asking = dialler.dial(peer, {});
  await t.throwsAsync(dialler.dial({ ...peer, peerId: 'r' }, {}), { code: 'ERR_BUSY' });
  dialler.close();
  await t.throwsAsync(asking, { code: 'ERR_LINK' });
});
