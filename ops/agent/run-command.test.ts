import test from 'ava';
import type { ExecutionContext } from 'ava';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock, SystemClock } from '../../core/base/clock.ts';
import type { Clock, Deadline } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { randomHex } from '../../core/base/random.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { processesWith } from '../../test/support/processes.ts';
import { until } from '../../test/support/until.ts';
import { CapturedOutput } from './captured-output.ts';
import { Launcher } from './launcher.ts';
import { findUser, ownUser } from './local-user.ts';
import type { LocalUser } from './local-user.ts';
import { ProcessTree, markerVariable } from './process-tree.ts';
import { runCommand } from './run-command.ts';
import type { RunEnd } from './run-command.ts';

const systemClock = new SystemClock();
const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? test : test.skip;
const needsRoot = isRoot ? '' : ' (skipped: needs root)';

interface Ran {
  readonly end: RunEnd;
  readonly stdout: CapturedOutput;
  readonly stderr: CapturedOutput;
}

async function run(
  argv: readonly [string, ...string[]],
  options: {
    readonly user?: LocalUser;
    readonly marker?: string;
    readonly maxBytes?: number;
    readonly timeoutMs?: number;
    readonly graceMs?: number;
    readonly signal?: AbortSignal;
    readonly stdout?: CapturedOutput;
    readonly clock?: Clock;
  } = {},
): Promise<Ran> {
  const { user = ownUser(), marker = randomHex(16), maxBytes = 1_048_576 } = options;
  const { timeoutMs = 60_000, graceMs = 2_000, signal = new AbortController().signal } = options;
  const { clock = systemClock } = options;
  const launcher = await Launcher.find(ownUser(), { log: silentLog });
  const launch = await launcher.launch(argv, { user, marker });
  const stdout = options.stdout ?? new CapturedOutput(maxBytes);
  const stderr = new CapturedOutput(maxBytes);
  const end = await runCommand(launch, {
    marker,
    stdout,
    stderr,
    timeoutMs,
    graceMs,
    signal,
    clock,
  });
  return { end, stdout, stderr };
}

test('runCommand() passes arguments byte for byte, and no shell sees them', async (t) => {
  const args = [
    '; touch /tmp/x',
    '$(id)',
    '`id`',
    'two\nlines\r\n',
    '--leading',
    '-',
    '',
    ' ',
    'ünï→🦀',
    '"\'\\',
    '*',
    '%s',
    '$HOME',
    '&& | > <',
  ];
  const { end, stdout } = await run(['/usr/bin/printf', String.raw`%s\0`, ...args]);
  t.is(end.exitCode, 0);
  t.deepEqual(stdout.contents(), Buffer.from(args.map((arg) => `${arg}\0`).join('')));
});

test('runCommand() gives a program nothing but its own: environment, files, folder, session', async (t) => {
  const marker = randomHex(16);
  const script = 'env -0; echo ====; ls -l /proc/self/fd; echo ====; cat /proc/self/stat; pwd';
  // Its lock file is one that every child of this process would inherit.
  const directory = await mkdtemp(join(tmpdir(), 'odonata-files-'));
  t.teardown(async () => rm(directory, { recursive: true, force: true }));
  await using store = await LevelStateStore.open(join(directory, 'state'));
  await store.commit([{ type: 'put', key: 'a', value: 1 }]);
  const { stdout } = await run(['/bin/sh', '-c', script], { marker });
  const [environment = '', files = '', rest = ''] = stdout.contents().toString().split('====\n');
  const { name, home } = ownUser();
  const names = environment.split('\0').filter((line) => line !== '');
  // PWD, OLDPWD, SHLVL and _ are what the shell itself adds.
  t.deepEqual(
    names.filter((line) => !/^(?:PWD|OLDPWD|SHLVL|_)=/.test(line)).toSorted(),
    [
      `HOME=${home}`,
      'LANG=C.UTF-8',
      `LOGNAME=${name}`,
      `${markerVariable}=${marker}`,
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      `USER=${name}`,
    ].toSorted(),
  );
  const open = [...files.matchAll(/ (\d+) -> (.*)/g)]
    .map(([, fd, to]) => [fd, to])
    .toSorted(([one], [other]) => Number(one) - Number(other));
  t.deepEqual(open[0], ['0', '/dev/null']);
  for (const [fd, to] of open.slice(1, 3)) t.regex(to ?? '', /^socket:/, fd);
  // `ls` has the folder open that it lists; all else that this process inherited is covered.
  const others = open.slice(3).filter(([, to]) => !/^\/proc\/\d+\/fd$/.test(to ?? ''));
  t.deepEqual(
    others.filter(([, to]) => to !== '/dev/null'),
    [],
  );
  const [stat = '', folder] = rest.split('\n');
  const session = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3];
  const own = readFileSync('/proc/self/stat', 'latin1');
  t.not(session, own.slice(own.lastIndexOf(')') + 2).split(' ')[3]);
  t.is(folder, '/');
});

asRoot(`runCommand() changes user, group and all groups, for good${needsRoot}`, async (t) => {
  // Somebody with groups of his own, if there is one here.
  const [member = 'nobody'] = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .map((line) => line.split(':')[3]?.split(',')[0] ?? '')
    .filter((name) => /^[a-z_][a-z0-9_-]*$/.test(name) && name !== 'root');
  for (const name of new Set(['nobody', member])) {
    const user = await findUser(name);
    const { end, stdout, stderr } = await run(['/bin/cat', '/proc/self/status'], { user });
    t.is(end.exitCode, 0, stderr.contents().toString());
    const status = stdout.contents().toString();
    const field = (key: string): string[] =>
      (new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '').trim().split(/\s+/);
    t.deepEqual(new Set(field('Uid')), new Set([String(user.uid)]));
    t.deepEqual(new Set(field('Gid')), new Set([String(user.gid)]));
    const groups = execFileSync('id', ['-G', name]).toString().trim().split(' ');
    t.deepEqual(field('Groups').toSorted(), groups.toSorted());
    t.deepEqual(field('NoNewPrivs'), ['1']);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) {
      t.regex(field(set)[0] ?? '', /^0+$/, set);
    }
  }
});

asRoot(`Launcher starts nothing as another user without setpriv${needsRoot}`, async (t) => {
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (_facts: object, message: string) => warnings.push(message) };
  const launcher = await Launcher.find(ownUser(), { log, candidates: ['/nonexistent/setpriv'] });
  t.regex(warnings.join('\n'), /setpriv .* is missing/);
  const user = await findUser('nobody');
  t.throws(() => launcher.check(user), { code: 'ERR_FORBIDDEN', message: /setpriv/ });
  t.notThrows(() => launcher.check(ownUser()));
});

test('Launcher refuses a program that is not there, and a folder', async (t) => {
  const launcher = await Launcher.find(ownUser(), { log: silentLog });
  const options = { user: ownUser(), marker: randomHex(16) };
  for (const program of ['/nonexistent/program', '/usr', '/etc/passwd']) {
    await t.throwsAsync(launcher.launch([program], options), { code: 'ERR_COMMAND_START' });
  }
});

test('runCommand() tells the status or the signal that a program ended with', async (t) => {
  const failed = await run(['/bin/sh', '-c', 'echo out; echo err >&2; exit 3']);
  t.like(failed.end, { exitCode: 3, signal: undefined, ended: undefined });
  t.is(failed.stdout.contents().toString(), 'out\n');
  t.is(failed.stderr.contents().toString(), 'err\n');
  const killed = await run(['/bin/sh', '-c', 'kill -9 $$']);
  t.like(killed.end, { exitCode: undefined, signal: 'SIGKILL', ended: undefined });
});

test('runCommand() counts a flood and keeps its beginning', async (t) => {
  const { end, stdout } = await run(['/usr/bin/head', '-c', '5000000', '/dev/zero'], {
    maxBytes: 1_000,
  });
  t.is(end.exitCode, 0);
  t.is(stdout.bytes, 5_000_000);
  t.is(stdout.contents().length, 1_000);
});

/** A family that tries to be left alone: deaf to SIGTERM, new sessions, double forks, cleared environments. */
function family(name: string): [string, ...string[]] {
  const deaf = `trap "" TERM; while :; do sleep 1; done`;
  const script = `trap '' TERM
    sh -c '${deaf}' ${name} &
    setsid sh -c '${deaf}' ${name} &
    (setsid sh -c '(sh -c "while :; do sleep 1; done" ${name} &)' ${name} &)
    env -i setsid sh -c '${deaf}' ${name} &
    env -i sh -c '(sh -c "while :; do sleep 1; done" ${name} &)' ${name} &
    while :; do sleep 1; done`;
  return ['/bin/sh', '-c', script, name];
}

/** The machine's clock, but for deadlines, which pass when the test says so. */
class DeadlineClock extends SystemClock {
  readonly hand = new ManualClock();

  override deadline(ms: number, options?: { signal?: AbortSignal | undefined }): Deadline {
    return this.hand.deadline(ms, options);
  }
}

async function killedFamily(t: ExecutionContext, ending: 'timeout' | 'cancelled'): Promise<void> {
  const name = `family-${randomHex(8)}`;
  const marker = randomHex(16);
  const abort = new AbortController();
  const ofDeadlines = new DeadlineClock();
  const running = run(family(name), {
    marker,
    signal: abort.signal,
    clock: ofDeadlines,
    timeoutMs: 3_000,
    graceMs: 100,
  });
  // The first and its five, all of which have come to rest.
  await until(() => processesWith(name).length === 6);
  if (ending === 'cancelled') abort.abort();
  else ofDeadlines.hand.advance(3_000);
  const { end } = await running;
  t.is(end.ended, ending);
  t.is(end.left, 0);
  t.deepEqual(processesWith(name), []);
  t.deepEqual(processesWith(marker), []);
}

test('runCommand() leaves no descendant when it is cancelled, whatever they did to get away', async (t) => {
  await killedFamily(t, 'cancelled');
});

test('runCommand() leaves no descendant after its time, whatever they did to get away', async (t) => {
  await killedFamily(t, 'timeout');
});

test('runCommand() lets a program end by itself when it is asked to', async (t) => {
  const abort = new AbortController();
  const stdout = new CapturedOutput(1_000);
  const script = `trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done`;
  const running = run(['/bin/sh', '-c', script], { stdout, signal: abort.signal, graceMs: 30_000 });
  await until(() => stdout.bytes > 0);
  abort.abort();
  const { end } = await running;
  t.like(end, { exitCode: 7, ended: 'cancelled', left: 0 });
  t.is(stdout.contents().toString(), 'ready\nbye\n');
});

test('runCommand() does not wait for what a program left behind, though it holds the pipes', async (t) => {
  const marker = randomHex(16);
  const { end, stdout } = await run(['/bin/sh', '-c', 'sleep 1000 & echo done'], { marker });
  t.is(end.exitCode, 0);
  t.is(stdout.contents().toString(), 'done\n');
  t.is(processesWith(marker).length, 1);
  t.is(await new ProcessTree(marker).kill({ clock: systemClock, graceMs: 1_000 }), 0);
  t.deepEqual(processesWith(marker), []);
});
