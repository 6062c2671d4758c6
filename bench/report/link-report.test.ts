import test from 'ava';
import type { LinkContender, LinkResult, LinkSample, LinkWay } from '../scenario/link.ts';
import { linkBars, renderLink, summarizeLink } from './link-report.ts';

const GIB = 1024 ** 3;

function sample(
  contender: LinkContender,
  of: { way?: LinkWay; round: number; seconds: number; sender: number; receiver: number },
): LinkSample {
  return { contender, way: 'tls', others: 0.3, ...of };
}

function resultOf(samples: readonly LinkSample[]): LinkResult {
  return { size: GIB / 2, pieceLength: GIB / 512, samples };
}

test('summarizeLink() gives medians per GiB, and compares what ran in the same round', (t) => {
  // The machine is four times slower in round 2: the ratio is not to notice.
  const samples = [1, 4, 2].flatMap((slow, round) => [
    sample('link to null', { round, seconds: slow, sender: slow / 4, receiver: slow / 2 }),
    sample('curl | sha256sum', { round, seconds: slow / 2, sender: slow / 4, receiver: slow }),
  ]);
  const [link, curl] = summarizeLink(resultOf(samples));
  t.like(link, { way: 'tls', contender: 'link to null', rounds: 3, mibPerSecond: 256 });
  t.like(link, { sender: 1, receiver: 2, both: 3, timesRate: 0.5, timesCpu: 0.6 });
  t.is(link?.timesFastRate, undefined);
  t.like(curl, { contender: 'curl | sha256sum', timesRate: 1, timesCpu: 1, both: 5 });
});

test('linkBars() judges both ways to both targets, and renderLink() says which are missed', (t) => {
  const one = { round: 1, seconds: 1, sender: 1, receiver: 1 };
  const samples = (['clear', 'tls'] as const).flatMap((way) => [
    sample('link to null', { ...one, way, seconds: 1.25 }),
    sample('link to file', { ...one, way, seconds: 2, receiver: 2.5 }),
    sample('curl | sha256sum', { ...one, way }),
  ]);
  const bars = linkBars(resultOf(samples));
  t.deepEqual(
    bars.map(({ kind, limit, measured, isMet }) => [kind, limit, measured, isMet]),
    [
      ['rate', 1, 0.8, false],
      ['cpu', 1.5, 1, true],
      ['rate', 1, 0.5, false],
      ['cpu', 1.5, 1.75, false],
      ['rate', 0.7, 0.8, true],
      ['cpu', 2, 1, true],
      ['rate', 0.7, 0.5, false],
      ['cpu', 2, 1.75, true],
    ],
  );
  const text = renderLink(resultOf(samples));
  t.regex(text, /link to null, tls: throughput +at least 0\.7 +0\.80 .* met/);
  t.regex(text, /link to file, clear: CPU of both sides +at most 1\.5 +1\.75 .* MISSED/);
  t.regex(text, /Other programs took 30 % of this machine/);
});

test('linkBars() promises nothing without curl', (t) => {
  const one = { round: 1, seconds: 1, sender: 1, receiver: 1 };
  const alone = resultOf([sample('link to null', one)]);
  t.deepEqual(linkBars(alone), []);
  t.notRegex(renderLink(alone), /promise/);
});
