import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { runCommand } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { labProblem } from '../../bench/lab/lab-tools.ts';
import { allLabs } from '../../bench/lab/teardown.ts';
import type { SwarmSummary } from '../../bench/report/swarm-report.ts';
import type { SwarmResult } from '../../bench/scenario/swarm.ts';

const problem = labProblem();
const labTest = problem === undefined ? test.serial : test.serial.skip;
const why = problem === undefined ? '' : ` (skipped: ${problem})`;
const MIB = 1024 * 1024;

type Kept = SwarmResult & { readonly summary: readonly SwarmSummary[] };

async function swarm(workplace: Workplace, words: readonly string[]): Promise<Kept> {
  const json = join(workplace.folder, 'figures.json');
  const argv = [process.execPath, join(checkout, 'bench', 'main.ts'), 'swarm', '--source'];
  argv.push('--dir', workplace.folder, '--json', json, ...words);
  const result = await runCommand(argv, workplace);
  // It compares every output with what the origin serves, and fails when one differs.
  if (result.exitCode !== 0) throw new Error(result.stderr);
  return JSON.parse(await readFile(json, 'utf8')) as Kept;
}

/** Labs of benches: another test may have one of its own at the same time. */
async function benchLabs(): Promise<string[]> {
  return (await allLabs()).filter((name) => /^b[0-9a-z]{6}$/.test(name));
}

labTest(
  `bench swarm takes one copy from the origin to all hosts of a lab, and leaves no lab${why}`,
  async (t) => {
    t.timeout(300_000);
    const before = await benchLabs();
    await using workplace = await Workplace.open();
    const svg = join(workplace.folder, 'plot.svg');
    const words = ['--hosts', '4', '--size', '4MiB', '--rate', '50mbit', '--beside', 'curl'];
    const { runs, summary, goodput } = await swarm(workplace, [...words, '--svg', svg]);
    t.deepEqual(
      runs.map(({ contender }) => contender),
      ['dfget', 'curl'],
    );
    const [ours, curl] = summary;
    t.is(ours?.originCopies, 1);
    t.is(curl?.originCopies, 4);
    // On a machine that is busy each host may ask for one of the sixteen pieces twice, besides 2 % of them.
    t.true((ours?.duplicateShare ?? 1) <= 1 / 16, `${ours?.duplicateShare}`);
    t.true(goodput * 8 <= 50_000_000);
    for (const { hosts, spread } of runs) {
      t.is(hosts.length, 4);
      for (const host of hosts) t.is(host.curve.at(-1)?.[1], 4 * MIB);
      t.like(spread.at(-1), { rarest: 4, commonest: 4 });
    }
    for (const host of runs[0]?.hosts ?? []) t.is(host.fromPeers + host.fromSeed, 4 * MIB);
    t.regex(await readFile(svg, 'utf8'), /^<svg .*<\/svg>\n$/s);
    t.deepEqual(await benchLabs(), before);
  },
);

labTest(`bench swarm goes on without the hosts it kills${why}`, async (t) => {
  t.timeout(300_000);
  await using workplace = await Workplace.open();
  const words = ['--hosts', '4', '--size', '8MiB', '--rate', '20mbit', '--kill', '25%'];
  const { runs } = await swarm(workplace, words);
  const [run] = runs;
  t.is(run?.hosts.filter(({ seconds }) => seconds === undefined).length, 1);
  t.true((run?.killedAfter ?? 0) > 0);
});
