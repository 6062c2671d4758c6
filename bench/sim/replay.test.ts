// `fixtures/swarm-8-hosts.json` is what `npm run bench -- swarm --hosts 8 --size 64MiB --rate 20mbit --json FILE` wrote
// of a real run on a quiet machine, without its curves.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { renderReplay } from '../report/replay-report.ts';
import { compareReplay, readRecorded, replayCase } from './replay.ts';
import { simCase } from './sim-case.ts';
import { simulate } from './simulate.ts';

const real = join(import.meta.dirname, 'fixtures', 'swarm-8-hosts.json');
const usual = simCase({ hosts: 1, size: 1, rate: 1 });

test('a real run takes about as long in virtual time', async (t) => {
  const recorded = await readRecorded(real);
  const swarm = replayCase(recorded, usual);
  t.like(swarm, { hosts: 8, size: 64 * 1024 * 1024, up: recorded.goodput, kill: 0, idcs: 1 });
  t.is(Math.min(...(swarm.joinAtMs ?? [])), 0);
  const compared = compareReplay(recorded, simulate(swarm));
  t.deepEqual(
    compared.map(({ what }) => what),
    ['p50', 'max'],
  );
  for (const { what, difference } of compared) {
    t.true(difference <= 0.02 && difference >= -0.1, `${what}: ${difference}`);
  }
});

test('links carry less content by what else was on them', async (t) => {
  const recorded = await readRecorded(real);
  const { swarm, goodput, runs } = recorded;
  const oneStream = 8 * swarm.size * (swarm.rate / 8 / goodput);
  const withWire = runs.map((run) => ({ ...run, wireBytes: 1.05 * oneStream }));
  const { up } = replayCase({ ...recorded, runs: withWire }, usual);
  t.true(Math.abs(up / (goodput / 1.05) - 1) < 1e-3, `${up} of ${goodput}`);
});

test('a replay is judged by 10 %, and void where the real machine was held up', (t) => {
  const row = { what: 'p50', recorded: 10, simulated: 9, difference: -0.1 } as const;
  t.regex(renderReplay([row], { machine: 0.6 }), /-10\.0 % +10 % +met\n$/);
  const far = { ...row, simulated: 11.1, difference: 0.11 };
  t.regex(renderReplay([far], { machine: 0.61 }), /11\.0 % .*MISSED[^]*VOID .* 61 % busy/);
});

test('joins, slow hosts and a thin link are those of the real run', async (t) => {
  const recorded = await readRecorded(real);
  const { swarm, goodput } = recorded;
  const slow = { hosts: 2, factor: 0.2 };
  const other = { ...recorded, swarm: { ...swarm, slow, idcs: 2, thin: swarm.rate / 2 } };
  const made = replayCase(other, usual);
  t.deepEqual(made.slow, slow);
  t.is(made.thin, goodput / 2);
  const hosts = recorded.runs[0]?.hosts ?? [];
  const orders = hosts.map(({ joined, started }) => (joined + started) * 1000);
  const first = Math.min(...orders);
  for (const [at, order] of orders.entries()) {
    t.true(Math.abs((made.joinAtMs?.[at] ?? Number.NaN) - (order - first)) < 1e-6);
  }
});

test('readRecorded() says what is wrong with a file', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'replay-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const good: unknown = JSON.parse(await readFile(real, 'utf8'));
  const { swarm } = await readRecorded(real);
  for (const [name, change, complaint] of [
    ['goodput', { goodput: 'much' }, '/goodput'],
    ['loss', { swarm: { ...swarm, loss: 0.01 } }, '--loss'],
    ['pieces', { pieceLength: 4_096 }, '4096'],
    ['runs', { runs: [] }, '/runs'],
  ] as const) {
    const path = join(folder, `${name}.json`);
    await writeFile(path, JSON.stringify(Object.assign({}, good, change)));
    const error = await t.throwsAsync(async () => replayCase(await readRecorded(path), usual), {
      code: 'ERR_USAGE',
    });
    t.true(error.message.includes(complaint), error.message);
  }
  const absent = join(folder, 'absent.json');
  const error = await t.throwsAsync(async () => readRecorded(absent), { code: 'ERR_USAGE' });
  t.true(error.message.includes(absent));
});
