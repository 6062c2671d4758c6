import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { runCommand } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { contenders } from '../../bench/scenario/single.ts';
import type { Bar, SingleSummary } from '../../bench/report/single-report.ts';

const MIB = 1024 * 1024;

test.serial(
  'bench single measures every contender that is there, and keeps its figures as JSON',
  async (t) => {
    t.timeout(300_000);
    await using workplace = await Workplace.open();
    const json = join(workplace.folder, 'figures.json');
    const argv = [process.execPath, join(checkout, 'bench', 'main.ts'), 'single', '--source'];
    argv.push('--sizes', '1,16MiB', '--rounds', '1', '--dir', workplace.folder, '--json', json);
    const result = await runCommand(argv, workplace);
    t.is(result.exitCode, 0, result.stderr);
    const kept = JSON.parse(await readFile(json, 'utf8')) as {
      summary: SingleSummary[];
      bars: Bar[];
      missing: string[];
    };
    const names = contenders.filter((name) => !kept.missing.includes(name));
    t.deepEqual(
      kept.summary.map(({ size, contender }) => [size, contender]),
      [1, 16 * MIB].flatMap((size) => names.map((name) => [size, name])),
    );
    for (const { seconds } of kept.summary) t.true(seconds > 0);
    const cold = kept.summary.find(({ size, contender }) => size > 1 && contender === 'dfget cold');
    t.true((cold?.cpuPerGibBy['host-1'] ?? 0) > 0);
    t.true((cold?.cpuPerGib ?? 0) > (cold?.cpuPerGibBy['host-1'] ?? 0));
    t.is(kept.bars.length, 2);
    t.regex(result.stdout, /sha256 +[\d.]+ [MG]iB\/s on one core/);
  },
);
