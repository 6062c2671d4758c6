import test from 'ava';
import { openBench } from '../../test/support/http-api-bench.ts';

test('PUT /api/v1/limits changes the budgets it names; GET shows them with the share of each host', async (t) => {
  const bench = await openBench(t);
  const first = await bench.call('PUT', '/api/v1/limits', { body: { download: 1_000_000 } });
  t.is(first.status, 200);
  t.deepEqual(JSON.parse(first.text), { budgets: { download: 1_000_000, origin: 0 } });
  bench.limits.connected({ peer: 'old', takesShares: false, share: () => undefined });
  bench.limits.connected({ peer: 'new', takesShares: true, share: () => undefined });
  await bench.call('PUT', '/api/v1/limits', { body: { origin: 65_536 } });
  const shown = await bench.call('GET', '/api/v1/limits');
  t.true(shown.text.includes('"budgets":{"download":1000000,"origin":65536}'));
  const row = { share: 10_000, rate: 0, wantsMore: false };
  t.deepEqual((JSON.parse(shown.text) as { hosts: object }).hosts, {
    items: [
      { peer: 'new', takesShares: true, download: row, origin: { ...row, share: 655 } },
      { peer: 'old', takesShares: false },
    ],
  });
});

for (const body of [
  { download: 5 },
  { download: -1 },
  { download: '1MB/s' },
  { upload: 100_000 },
]) {
  test(`PUT /api/v1/limits refuses ${JSON.stringify(body)}, and nothing changes`, async (t) => {
    const bench = await openBench(t);
    const answer = await bench.call('PUT', '/api/v1/limits', { body });
    t.is(answer.status, 400);
    t.regex(answer.text, /ERR_REQUEST/);
    t.deepEqual(bench.limits.budgets, { download: 0, origin: 0 });
  });
}
