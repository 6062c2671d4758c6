import test from 'ava';
import type { ExecutionContext } from 'ava';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { randomHex } from '../../core/base/random.ts';
import { until } from '../../test/support/until.ts';
import { CallGroup } from './call-group.ts';
import { CallGroups } from './call-groups.ts';
import { resultOfRun } from './call-result.ts';
import type { Became } from './call-result.ts';
import { CapturedOutput } from './captured-output.ts';
import { findCgroupPlace } from './cgroup-place.ts';
import { limitNames } from './command-limits.ts';
import type { CommandLimits } from './command-limits.ts';
import { Launcher, argvInGroup } from './launcher.ts';
import { ownUser } from './local-user.ts';
import { runCommand } from './run-command.ts';

const clock = new SystemClock();
const found = findCgroupPlace();
const controllers = found === undefined ? '' : readFileSync(join(found.base, 'cgroup.controllers'));
const hasAll = ['cpu', 'memory', 'pids'].every((name) => controllers.includes(name));
// As the group above this process, so that it is not moved.
const place = found === undefined ? undefined : { ...found, own: join(found.base, 'other') };
const wanted = new Set(limitNames);

async function open(t: ExecutionContext): Promise<CallGroups> {
  const dataDir = await mkdtemp(join(tmpdir(), 'odonata-limits-'));
  const groups = await CallGroups.open({ dataDir, wanted, clock, log: silentLog, place });
  t.teardown(async () => {
    await groups.tidy();
    await rm(dataDir, { recursive: true, force: true });
  });
  return groups;
}

const canLimit = hasAll && process.getuid?.() === 0;
const withLimits = canLimit ? test : test.skip;
const needs = canLimit ? '' : ' (needs root and a cgroup v2 with cpu, memory and pids)';

async function isThrottled({ path }: CallGroup): Promise<void> {
  await until(() => /^nr_throttled [1-9]/m.test(readFileSync(join(path, 'cpu.stat'), 'utf8')));
}

async function run(
  groups: CallGroups,
  script: string,
  options: {
    readonly limits: CommandLimits;
    readonly until?: (group: CallGroup) => Promise<void>;
  },
): Promise<Became & { readonly stderr: string }> {
  const marker = randomHex(16);
  const group = await groups.make(marker, options.limits);
  if (group === undefined) throw new Error('no group');
  const launcher = await Launcher.find(ownUser(), { log: silentLog });
  const argv = ['/bin/sh', '-c', script] as const;
  const launch = await launcher.launch(argv, { user: ownUser(), marker, group });
  const [stdout, stderr] = [new CapturedOutput(1_000), new CapturedOutput(1_000)];
  const abort = new AbortController();
  const { signal } = abort;
  const bounds = { timeoutMs: 120_000, graceMs: 100 };
  const running = runCommand(launch, { marker, group, stdout, stderr, ...bounds, signal, clock });
  if (options.until !== undefined) {
    await options.until(group);
    abort.abort();
  }
  const became = resultOfRun(await running, 120_000);
  await group.kill();
  await groups.release(group);
  return { ...became, stderr: stderr.contents().toString() };
}

withLimits(
  `a program above its limit of memory is killed with all of its own, and its result says why${needs}`,
  async (t) => {
    const groups = await open(t);
    const limits = { memory: 33_554_432 };
    // It has the whole of what it reads in memory: a line without an end. Its parent would go on.
    const hungry =
      'head -c 300000000 /dev/zero | tr "\\0" a | sort >/dev/null; echo survived; exit 0';
    const { outcome, error } = await run(groups, hungry, { limits });
    t.is(outcome, 'failed');
    t.regex(error?.message ?? '', /ended by SIGKILL: it was above its limit of memory/);
    const modest = await run(groups, 'exit 0', { limits });
    t.is(modest.outcome, 'ok');
  },
);

withLimits(`a program cannot have more processes than its limit says${needs}`, async (t) => {
  const groups = await open(t);
  const script = 'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 100 & done';
  const bound = await run(groups, script, { limits: { processes: 8 } });
  t.is(bound.outcome, 'failed');
  t.regex(bound.stderr, /fork/i);
  t.is((await run(groups, script, { limits: { processes: 100 } })).outcome, 'ok');
});

withLimits(`a program is held back at its share of the processor${needs}`, async (t) => {
  const groups = await open(t);
  const script = 'while :; do :; done';
  const { outcome } = await run(groups, script, { limits: { cpu: 0.05 }, until: isThrottled });
  t.is(outcome, 'failed');
  const marker = randomHex(16);
  const group = await groups.make(marker, { cpu: 1.5 });
  t.is(readFileSync(join(group?.path ?? '', 'cpu.max'), 'utf8').trim(), '150000 100000');
  if (group !== undefined) await groups.release(group);
});

withLimits(
  `a daemon alone in a group goes below it so that there can be limits, but not in a unit${needs}`,
  async (t) => {
    await open(t);
    const base = found?.base ?? '/';
    const script = `
    import { readFileSync } from 'node:fs';
    import { SystemClock } from ${JSON.stringify(join(import.meta.dirname, '../../core/base/clock.ts'))};
    import { CallGroups } from ${JSON.stringify(join(import.meta.dirname, 'call-groups.ts'))};
    const log = { warn: (facts) => console.log(facts.reason) };
    const wanted = new Set(['memory']);
    const groups = await CallGroups.open({ dataDir: '/tmp', wanted, clock: new SystemClock(), log });
    console.log(groups.facts.callGroups, groups.facts.callLimits);
    console.log(readFileSync('/proc/self/cgroup', 'utf8').match(/^0::(.*)$/m)[1]);`;
    const inGroup = async (name: string): Promise<string[]> => {
      const path = join(base, name);
      mkdirSync(path, { recursive: true });
      t.teardown(() => {
        if (existsSync(join(path, 'dfdaemon'))) rmdirSync(join(path, 'dfdaemon'));
        rmdirSync(path);
      });
      const node = [process.execPath, '--input-type=module', '-e', script] as const;
      const [sh, ...args] = argvInGroup(node, new CallGroup(path));
      return (await promisify(execFile)(sh, args)).stdout.trim().split('\n');
    };
    const name = `odonata-test-${randomHex(4)}`;
    const moved = await inGroup(name);
    t.deepEqual(moved.slice(0, -1), ['cgroup2 memory']);
    t.true(moved.at(-1)?.endsWith(`/${name}/dfdaemon`), moved.at(-1));
    // Where the former one left its group as it was, one that begins below it finds all prepared.
    const again = await inGroup(`${name}/dfdaemon`);
    t.deepEqual(again.slice(0, -1), ['cgroup2 memory']);
    const unit = await inGroup(`${name}.service`);
    t.regex(unit[0] ?? '', /DelegateSubgroup=dfdaemon/);
    t.is(unit[1], 'cgroup2 none');
    t.true(unit[2]?.endsWith(`/${name}.service`), unit[2]);
  },
);
