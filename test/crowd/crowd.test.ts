import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { runCommand } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import type { CrowdResult } from '../../bench/scenario/crowd.ts';

test.serial(
  'bench crowd: twenty hosts join, take a task, and are back after a restart',
  async (t) => {
    t.timeout(300_000);
    await using workplace = await Workplace.open();
    const json = join(workplace.folder, 'figures.json');
    const argv = [process.execPath, join(checkout, 'bench', 'main.ts'), 'crowd', '--hosts', '20'];
    argv.push('--per-process', '20', '--pieces', '8', '--seconds', '1', '--window', '1');
    argv.push('--dir', workplace.folder, '--json', json);
    const result = await runCommand(argv, workplace);
    t.is(result.exitCode, 0, result.stderr);
    const { connectMs, registerMs, windows, failed, cuts, comeback } = JSON.parse(
      await readFile(json, 'utf8'),
    ) as CrowdResult;
    t.is(connectMs.length, 20);
    t.is(registerMs.atOnce.length + registerMs.spread.length, 20);
    t.is(failed, 0);
    const whole = windows.find(({ name }) => name === 'taking it, from first to last');
    t.true((whole?.traffic.sentMessages ?? 0) >= 40, 'each registered and reported');
    t.deepEqual(
      cuts.map(({ kind }) => kind),
      ['killed', 'silent'],
    );
    for (const { offeredBefore, askedAfter } of cuts) t.true(offeredBefore > 0 && askedAfter > 0);
    t.is(comeback.missing, 0);
    t.is(comeback.hosts.length, 20);
    t.true(comeback.running.length > 0);
    t.regex(result.stdout, /Bounded by: /);
  },
);
