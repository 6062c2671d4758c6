import test from 'ava';
import type { ExecutionContext } from 'ava';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { randomHex } from '../../core/base/random.ts';
import { processesWith } from '../../test/support/processes.ts';
import { until } from '../../test/support/until.ts';
import { CallGroup } from './call-group.ts';
import { CallGroups } from './call-groups.ts';
import { CapturedOutput } from './captured-output.ts';
import { findCgroupPlace } from './cgroup-place.ts';
import { Launcher, argvInGroup } from './launcher.ts';
import { ownUser } from './local-user.ts';
import { runCommand } from './run-command.ts';
import type { RunEnd } from './run-command.ts';

const clock = new SystemClock();
const isRoot = process.getuid?.() === 0;
const found = findCgroupPlace();
const inGroups = found === undefined ? test.skip : test;
const needs = found === undefined ? ' (needs a writable cgroup v2)' : '';
const asRoot = isRoot ? inGroups : test.skip;
const needsRoot = isRoot ? needs : ' (needs root and a writable cgroup v2)';

/** As before Linux 5.14. */
class OldGroup extends CallGroup {
  override async kill(): Promise<void> {
    await this.freeze();
  }
}

class Place {
  readonly folder: string;
  readonly groups: CallGroups;
  readonly marker = randomHex(16);
  /** Among the arguments of what tries to get away. */
  readonly name = `away-${randomHex(8)}`;

  private constructor(folder: string, groups: CallGroups) {
    this.folder = folder;
    this.groups = groups;
  }

  static async open(t: ExecutionContext): Promise<Place> {
    const folder = await mkdtemp(join(tmpdir(), 'odonata-group-'));
    const options = { dataDir: folder, wanted: new Set<never>(), clock, log: silentLog };
    const groups = await CallGroups.open(options);
    const place = new Place(folder, groups);
    t.teardown(async () => {
      // Should a test fail: what hops from process to process stops at this file.
      await writeFile(join(folder, 'stop'), '');
      for (const pid of processesWith(place.name)) process.kill(Number(pid), 'SIGKILL');
      await groups.tidy();
      await rm(folder, { recursive: true, force: true });
    });
    return place;
  }

  get path(): string {
    return this.groups.pathFor(this.marker) ?? '';
  }

  /** Runs a line of shell in `group` until `until` resolves, and cancels it then. */
  async runAndCancel(
    script: string,
    options: { readonly group: CallGroup | undefined; readonly until: () => Promise<void> },
  ): Promise<RunEnd> {
    const { marker } = this;
    const { group } = options;
    const launcher = await Launcher.find(ownUser(), { log: silentLog });
    const argv = ['/bin/sh', '-c', script, marker] as const;
    const launch = await launcher.launch(argv, { user: ownUser(), marker, group });
    const [stdout, stderr] = [new CapturedOutput(1_000), new CapturedOutput(1_000)];
    const abort = new AbortController();
    const { signal } = abort;
    const bounds = { timeoutMs: 120_000, graceMs: 100 };
    const running = runCommand(launch, { marker, group, stdout, stderr, ...bounds, signal, clock });
    await options.until();
    abort.abort();
    return running;
  }
}

const forever = 'while :; do sleep 1; done';
/** Starts that last of all, with an empty environment, in a session of its own, without a parent; prints nothing. */
const away = (name: string, how = ''): string =>
  `env -i ${how} setsid sh -c '(sh -c "trap \\"\\" TERM; ${forever}" ${name} &)'`;

const escapes: Record<string, (name: string) => string> = {
  'a wiped environment, a session of its own and no parent': (name) => `${away(name)}; ${forever}`,
  'that, and being stopped': (name) =>
    `env -i setsid sh -c '(sh -c "kill -STOP \\$\\$; ${forever}" ${name} &)'; ${forever}`,
};
if (isRoot) {
  escapes['that, as another user'] = (name) =>
    `${away(name, 'setpriv --reuid=65534 --regid=65534 --clear-groups')}; ${forever}`;
}

for (const [what, script] of Object.entries(escapes)) {
  inGroups(`a call that is cancelled leaves nothing: ${what}${needs}`, async (t) => {
    for (const Kind of [CallGroup, OldGroup]) {
      const at = await Place.open(t);
      const { name } = at;
      await at.groups.make(at.marker, {});
      const group = new Kind(at.path);
      const isAway = async (): Promise<void> => until(() => processesWith(name).length === 2);
      // The one that was to get away, and the shell that started it.
      const end = await at.runAndCancel(`: ${name}; ${script(name)}`, { group, until: isAway });
      t.like(end, { ended: 'cancelled', left: 0 });
      t.deepEqual(processesWith(name), []);
      t.false(await group.isPopulated());
      t.true(await group.remove());
      t.false(existsSync(at.path));
    }
  });
}

inGroups(
  `a call that is cancelled leaves nothing: a new process every few ms${needs}`,
  async (t) => {
    for (const Kind of [CallGroup, OldGroup]) {
      const at = await Place.open(t);
      const [hop, hops] = [join(at.folder, 'hop'), join(at.folder, 'hops')];
      const line = `[ -e ${at.folder}/stop ] || env -i setsid --fork ${hop}`;
      const script = `#!/bin/sh\ntrap '' TERM\necho >>${hops}\n${line}\n`;
      await writeFile(hop, script, { mode: 0o755 });
      writeFileSync(hops, '');
      await at.groups.make(at.marker, {});
      const group = new Kind(at.path);
      const hasHopped = async (): Promise<void> => until(() => statSync(hops).size > 100);
      const three = `${hop} & ${hop} & ${hop} & ${forever}`;
      const end = await at.runAndCancel(three, { group, until: hasHopped });
      t.like(end, { ended: 'cancelled', left: 0 });
      t.deepEqual(processesWith(hop), []);
      t.false(await group.isPopulated());
      t.true(await group.remove());
    }
  },
);

asRoot(`a call that is cancelled leaves nothing: groups below its own${needsRoot}`, async (t) => {
  const at = await Place.open(t);
  const group = await at.groups.make(at.marker, {});
  const { name } = at;
  const script = `mkdir -p ${at.path}/a/b; echo 0 >${at.path}/a/b/cgroup.procs; ${away(name)}; ${forever}`;
  const isAway = async (): Promise<void> => until(() => processesWith(name).length === 2);
  const end = await at.runAndCancel(`: ${name}; ${script}`, { group, until: isAway });
  t.like(end, { ended: 'cancelled', left: 0 });
  t.deepEqual(processesWith(name), []);
  t.true(await group?.remove());
  t.false(existsSync(at.path));
});

inGroups(`CallGroups takes away what is empty, and leaves what lives${needs}`, async (t) => {
  const at = await Place.open(t);
  const other = await Place.open(t);
  const group = await at.groups.make(at.marker, {});
  if (group === undefined) return t.fail('no group');
  await other.groups.make(other.marker, {});
  const left = randomHex(16);
  const emptyPath = at.groups.pathFor(left) ?? '';
  mkdirSync(emptyPath);
  const launcher = await Launcher.find(ownUser(), { log: silentLog });
  const argv = ['/bin/sh', '-c', 'sleep 1000 & echo $!'] as const;
  const { marker } = at;
  const launch = await launcher.launch(argv, { user: ownUser(), marker, group });
  const [stdout, stderr] = [new CapturedOutput(1_000), new CapturedOutput(1_000)];
  const { signal } = new AbortController();
  const bounds = { timeoutMs: 60_000, graceMs: 100 };
  await runCommand(launch, { marker, group, stdout, stderr, ...bounds, signal, clock });
  const lived = stdout.contents().toString().trim();
  await at.groups.release(group);
  await at.groups.tidy();
  t.deepEqual([...(await group.pids())].map(String), [lived]);
  t.false(existsSync(emptyPath));
  // That of another dfdaemon may be about to be used.
  t.true(existsSync(other.path));
  t.is(at.groups.leftover(at.path, randomHex(16)), undefined);
  t.is(at.groups.leftover('/etc', at.marker), undefined);
  await at.groups.leftover(at.path, at.marker)?.kill();
  while (existsSync(at.path)) await at.groups.tidy();
  await other.groups.release(new CallGroup(other.path));
  t.false(existsSync(other.path));
});

inGroups(
  `CallGroups.open() leaves nothing behind, and runs what a program prints of its group${needs}`,
  async (t) => {
    const at = await Place.open(t);
    t.is(at.groups.facts['callGroups'], 'cgroup2');
    const names = await readdir(found?.base ?? '/');
    const own = at.path.slice(at.path.lastIndexOf('/') + 1, -32);
    t.deepEqual(
      names.filter((name) => name.startsWith(own)),
      [],
    );
    const group = await at.groups.make(at.marker, {});
    const launcher = await Launcher.find(ownUser(), { log: silentLog });
    const { marker } = at;
    const argv = ['/bin/cat', '/proc/self/cgroup', '/proc/self/environ'] as const;
    const launch = await launcher.launch(argv, { user: ownUser(), marker, group });
    const [stdout, stderr] = [new CapturedOutput(10_000), new CapturedOutput(1_000)];
    const { signal } = new AbortController();
    const bounds = { timeoutMs: 60_000, graceMs: 100 };
    await runCommand(launch, { marker, group, stdout, stderr, ...bounds, signal, clock });
    const text = stdout.contents().toString();
    t.regex(text, new RegExp(`^0::/.*${marker}$`, 'm'));
    t.notRegex(text, /PWD=/);
    t.is(stderr.bytes, 0, stderr.contents().toString());
    if (group !== undefined) await at.groups.release(group);
    await until(() => !existsSync(at.path));
  },
);

test('a program whose group cannot be entered is not started', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-group-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  const mark = join(folder, 'ran');
  const [sh, ...args] = argvInGroup(['/bin/touch', mark], new CallGroup(join(folder, 'gone')));
  const end = spawnSync(sh, args, { env: {}, cwd: '/' });
  t.is(end.status, 125);
  t.false(existsSync(mark));
});

test('CallGroups.none() makes no group and keeps no limit', async (t) => {
  const groups = CallGroups.none();
  t.deepEqual(groups.facts, { callGroups: 'none', callLimits: 'none' });
  t.is(groups.pathFor('a'), undefined);
  t.is(await groups.make('a', {}), undefined);
  t.notThrows(() => groups.check({}));
  t.throws(() => groups.check({ memory: 1e9, cpu: 1 }), {
    code: 'ERR_FORBIDDEN',
    message: /cannot keep the limit of cpu, memory/,
  });
  await t.notThrowsAsync(groups.tidy());
});

test('CallGroups.open() says in the log which limits this host cannot keep', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-group-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  const warnings: object[] = [];
  const log = { ...silentLog, warn: (facts: object) => warnings.push(facts) };
  const wanted = new Set(['memory', 'cpu'] as const);
  // A folder is no cgroup, though all of it can be written.
  const groups = await CallGroups.open({
    dataDir: folder,
    wanted,
    clock,
    log,
    place: { own: folder, base: folder },
  });
  t.is(groups.facts['callGroups'], 'none');
  t.like(warnings, [{ limit: 'memory' }, { limit: 'cpu' }]);
  t.deepEqual(await readdir(folder), []);
});
