import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { runCommand } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import type { LinkSummary } from '../../bench/report/link-report.ts';

test.serial(
  'bench link moves a file between two processes, both ways, to both targets',
  async (t) => {
    t.timeout(300_000);
    await using workplace = await Workplace.open();
    const json = join(workplace.folder, 'figures.json');
    const argv = [process.execPath, join(checkout, 'bench', 'main.ts'), 'link', '--alone'];
    // The last piece is a short one.
    argv.push('--size', '5000001', '--rounds', '1', '--dir', workplace.folder, '--json', json);
    const result = await runCommand(argv, workplace);
    // Each piece is verified, and the file as a whole, or it fails.
    t.is(result.exitCode, 0, result.stderr);
    const { summary } = JSON.parse(await readFile(json, 'utf8')) as { summary: LinkSummary[] };
    t.deepEqual(
      summary.map(({ way, contender }) => [way, contender]),
      ['clear', 'tls'].flatMap((way) => ['link to null', 'link to file'].map((to) => [way, to])),
    );
    for (const { mibPerSecond } of summary) t.true(mibPerSecond > 0);
  },
);
