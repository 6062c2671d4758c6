import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { Command } from '../../bench/cluster/command.ts';
import type { CommandResult } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';

const MIB = 1024 * 1024;

/** A demo that finds its temporary folder in `folder`. */
async function startDemo(
  workplace: Workplace,
  args: readonly string[],
  onLine?: (line: string) => void,
): Promise<{ readonly temporary: string; readonly demo: Command }> {
  const temporary = join(workplace.folder, 'temporary');
  await mkdir(temporary);
  const argv = [process.execPath, join(checkout, 'bench', 'demo.ts'), ...args];
  const demo = await Command.start(argv, {
    guard: workplace.guard,
    env: { ...workplace.env, TMPDIR: temporary },
    ...(onLine === undefined ? {} : { onLine }),
  });
  return { temporary, demo };
}

/** Command lines of running processes that speak of `folder`. */
async function processesOf(folder: string): Promise<string[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    names.map(async (name) => readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes(folder));
}

const outputOf = (result: CommandResult): string => `${result.stdout}\n${result.stderr}`;

test.serial(
  'demo downloads a file on all hosts, shows one origin copy, and leaves nothing',
  async (t) => {
    t.timeout(300_000);
    await using workplace = await Workplace.open();
    const file = join(workplace.folder, 'file');
    await writeFile(file, Buffer.alloc(5 * MIB, 'odonata '));
    const { demo, temporary } = await startDemo(workplace, ['--hosts', '2', '--file', file]);
    const result = await demo.result;
    t.is(result.exitCode, 0, outputOf(result));
    t.regex(result.stdout, /host-1 \(127\.0\.0\.2\) .* equal/);
    t.regex(result.stdout, /host-2 \(127\.0\.0\.3\) .* equal/);
    t.regex(result.stdout, /equal on all 2 hosts/);
    t.regex(result.stdout, /origin copies 1\.00 \(the origin sent 5242880 bytes in 1 requests\)/);
    t.deepEqual(await readdir(temporary), []);
    t.deepEqual(await processesOf(temporary), []);
  },
);

test.serial(
  'demo --url downloads what its user names and counts the copies that left the origin',
  async (t) => {
    t.timeout(300_000);
    const content = { seed: 8, length: 3 * MIB };
    await using origin = await startOrigin({ routes: { '/f': { content } } });
    await using workplace = await Workplace.open();
    const { demo } = await startDemo(workplace, ['--hosts', '2', '--url', origin.url('/f')]);
    const result = await demo.result;
    t.is(result.exitCode, 0, outputOf(result));
    t.regex(result.stdout, /equal on all 2 hosts/);
    t.regex(result.stdout, /origin copies 1\.00 \(as supernode and hosts count it\)/);
    t.is(origin.stats('/f').bodyBytes, content.length);
  },
);

test.serial(
  'demo stopped by Ctrl-C in the middle of a download leaves no process and no file',
  async (t) => {
    t.timeout(300_000);
    const content = { seed: 8, length: 8 * MIB };
    // Never ends by itself.
    const route = { content, stall: { afterBytes: MIB } };
    await using origin = await startOrigin({ routes: { '/f': route } });
    await using workplace = await Workplace.open();
    const isDownloading = Promise.withResolvers<void>();
    const { demo, temporary } = await startDemo(
      workplace,
      ['--hosts', '2', '--url', origin.url('/f')],
      (line) => {
        if (line.startsWith('Downloading')) isDownloading.resolve();
      },
    );
    await Promise.race([isDownloading.promise, demo.result]);
    demo.kill('SIGINT');
    const result = await demo.result;
    t.is(result.exitCode, 130, outputOf(result));
    t.is(result.stderr, 'stopped\n');
    t.deepEqual(await readdir(temporary), []);
    t.deepEqual(await processesOf(temporary), []);
  },
);

test.serial(
  'demo names what is wrong with its arguments and the download that fails',
  async (t) => {
    t.timeout(300_000);
    await using origin = await startOrigin();
    await using workplace = await Workplace.open();
    for (const [args, reason] of [
      [['--hosts', '0'], /--hosts: from 1 to/],
      [['--files', 'x'], /--files/],
      [['--url', 'ftp://a/b'], /--url: an http/],
    ] as const) {
      await using own = await Workplace.open();
      const { demo } = await startDemo(own, args);
      const result = await demo.result;
      t.is(result.exitCode, 1);
      t.regex(result.stderr, reason);
    }
    const { demo } = await startDemo(workplace, ['--hosts', '1', '--url', origin.url('/none')]);
    const result = await demo.result;
    t.is(result.exitCode, 2);
    t.regex(result.stderr, /host-1: dfget ended with 2: .*404/);
  },
);
