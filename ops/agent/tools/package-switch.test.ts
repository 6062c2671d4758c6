import test from 'ava';
import type { ExecutionContext } from 'ava';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import {
  access,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { hash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from 'tar';
import { SystemClock } from '../../../core/base/clock.ts';
import { CodedError } from '../../../core/base/error.ts';
import { randomHex } from '../../../core/base/random.ts';
import { ownUser } from '../local-user.ts';
import { markerVariable, serviceVariable } from '../process-tree.ts';
import { PackageFolder } from './package-folder.ts';
import { installPackage } from './package-install.ts';
import type { PackageTools } from './package-program.ts';
import { resumePackage } from './package-resume.ts';
import { switchPackage } from './package-switch.ts';

const clock = new SystemClock();

/** A package in a folder of its own; what it has running is ended with the test. */
class Site {
  readonly folder: string;
  readonly said: string[] = [];
  readonly tools: PackageTools;

  private constructor(folder: string) {
    this.folder = folder;
    this.tools = {
      user: ownUser(),
      marker: randomHex(16),
      clock,
      signal: new AbortController().signal,
      say: (text) => void this.said.push(text),
    };
  }

  static async open(t: ExecutionContext): Promise<Site> {
    const site = new Site(await mkdtemp(join(tmpdir(), 'odonata-package-')));
    t.teardown(async () => {
      for (const pid of site.running()) process.kill(pid, 'SIGKILL');
      await rm(site.folder, { recursive: true, force: true });
    });
    return site;
  }

  /** Installs a package of these files, those in `bin/` executable; its current version. */
  async install(
    version: string,
    files: Readonly<Record<string, string>>,
    keep = 3,
  ): Promise<string | null> {
    const content = await packed(files);
    const digest = `sha256:${hash('sha256', content)}`;
    const request = { name: 'web', version, url: 'http://o/web.tgz', digest };
    await using folder = await PackageFolder.open(this.folder, { clock });
    const options = { ...this.tools, content: once1(content), keep };
    const { current } = await installPackage(folder, request, options);
    return current;
  }

  async switchTo(
    version: string | undefined,
    { healthTimeoutMs = 60_000, folder }: { healthTimeoutMs?: number; folder?: PackageFolder } = {},
  ): Promise<[exit: number, current: string | null, former: string | null]> {
    await using own = folder === undefined ? await this.opened() : undefined;
    const opened = folder ?? own;
    if (opened === undefined) throw new TypeError('no folder');
    const request = { name: 'web', version, healthTimeoutMs };
    const { exit, current, former } = await switchPackage(opened, request, this.tools);
    return [exit, current, former];
  }

  async opened(): Promise<PackageFolder> {
    return PackageFolder.open(this.folder, { clock });
  }

  /** Processes whose folder is one of this package's versions. */
  running(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          return readlinkSync(`/proc/${pid}/cwd`).startsWith(`${this.folder}/versions/`);
        } catch {
          return false;
        }
      });
  }

  /** The version that the only process is of. */
  runningVersion(): string | undefined {
    const [pid, ...others] = this.running();
    if (pid === undefined || others.length > 0) return undefined;
    return /versions\/(.*)-[0-9a-f]{12}$/.exec(readlinkSync(`/proc/${pid}/cwd`))?.[1];
  }

  async currentLink(): Promise<string | undefined> {
    return readlink(join(this.folder, 'current')).catch(() => undefined);
  }
}

async function* once1(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function packed(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-pack-'));
  try {
    await mkdir(join(folder, 'bin'));
    for (const [path, text] of Object.entries(files)) {
      await writeFile(join(folder, path), text, { mode: path.startsWith('bin/') ? 0o755 : 0o644 });
    }
    const file = join(folder, 'package.tgz');
    await create({ file, cwd: folder, gzip: true, portable: true, mtime: new Date(0) }, [
      'bin',
      'package.yaml',
    ]);
    return await readFile(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A web service; one that is not well answers 500. */
function webService(version: string, port: number, status = 200): Record<string, string> {
  const timeout = status === 200 ? '1h' : '1s';
  return {
    'package.yaml': `
name: web
version: ${version}
start: [bin/web, '${port}']
health: { http: 'http://127.0.0.1:${port}/', interval: 20ms, timeout: ${timeout} }
env: { ANSWER: 'this is ${version}' }
`,
    'bin/web': `#!${process.execPath}
process.getBuiltinModule('node:http').createServer((request, response) => {
  response.writeHead(${status}).end(process.env.ANSWER);
}).listen(Number(process.argv[2]), '127.0.0.1');
console.log('listening');
`,
  };
}

/** A service of one process that only waits. */
function waiter(version: string, more = ''): Record<string, string> {
  return {
    'package.yaml': `
name: web
version: ${version}
start: [bin/wait]
health: { command: [/bin/true], interval: 20ms }
${more}`,
    'bin/wait': '#!/bin/sh\nexec sleep 1000\n',
  };
}

test('switchPackage() lets one version after the other run, outside of the call', async (t) => {
  const site = await Site.open(t);
  const port = await freePort();
  const answer = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/`)).text();
  t.is(await site.install('1.0', webService('1.0', port)), null);
  t.is(await site.currentLink(), undefined);
  t.deepEqual(site.running(), [], 'installing starts nothing');
  const first = await site.switchTo('1.0');
  t.deepEqual(first, [0, '1.0', null], site.said.join('\n'));
  t.is(await answer(), 'this is 1.0');
  t.regex((await site.currentLink()) ?? '', /^versions\/1\.0-[0-9a-f]{12}$/);
  const [pid = 0] = site.running();
  const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
  t.false(environment.includes(markerVariable), 'who looks for the processes of calls passes it');
  t.true(environment.includes(`${serviceVariable}=`));
  const [, , , session] =
    readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  t.is(Number(session), pid, 'in a session of its own');
  t.is(await readFile(join(site.folder, 'log', 'web.log'), 'utf8'), 'listening\n');
  const open = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  t.deepEqual(
    open.filter((path) => path.startsWith(site.folder)),
    [1, 2].map(() => join(site.folder, 'log', 'web.log')),
    'no file of the tool is open in it',
  );

  t.deepEqual(await site.switchTo('1.0'), [0, '1.0', '1.0']);
  t.deepEqual(site.running(), [pid], 'what runs already is left alone');

  t.is(await site.install('2.0', webService('2.0', port)), '1.0');
  t.is(await answer(), 'this is 1.0', 'installing touches nothing of what runs');
  t.deepEqual(await site.switchTo('2.0'), [0, '2.0', '1.0']);
  t.is(await answer(), 'this is 2.0');
  t.is(site.running().length, 1);

  t.deepEqual(await site.switchTo(undefined), [0, null, '2.0']);
  t.deepEqual(site.running(), []);
  t.is(await site.currentLink(), undefined);
  t.deepEqual(await site.switchTo(undefined), [0, null, null]);
});

test('resumePackage() starts again what ran and does not, and nothing else', async (t) => {
  const site = await Site.open(t);
  const resumed = async (): Promise<string | undefined> => {
    await using folder = await site.opened();
    return await resumePackage(folder, site.tools);
  };
  t.is(await resumed(), undefined, 'there was nothing');
  await site.install('1.0', waiter('1.0'));
  t.is(await resumed(), undefined, 'it was never started');
  await site.switchTo('1.0');
  const [pid = 0] = site.running();
  t.is(await resumed(), undefined);
  t.deepEqual(site.running(), [pid], 'what runs is left alone');

  process.kill(pid, 'SIGKILL');
  while (site.running().length > 0) await clock.sleep(5);
  const program = join(site.folder, (await site.currentLink()) ?? '', 'bin', 'wait');
  await rename(program, `${program}.away`);
  await t.throwsAsync(resumed(), { message: /is missing or not executable/ });
  await rename(`${program}.away`, program);
  t.regex((await resumed()) ?? '', /^1\.0-/, 'what could not be started is tried again');
  t.is(site.runningVersion(), '1.0');

  for (const each of site.running()) process.kill(each, 'SIGKILL');
  await using folder = await site.opened();
  await folder.setBegunSwitch({ from: undefined, to: undefined });
  t.is(await resumePackage(folder, site.tools), undefined, 'a switch is under way');
});

test('switchPackage() puts the former version back when the new one is not healthy', async (t) => {
  const site = await Site.open(t);
  const port = await freePort();
  await site.install('1.0', webService('1.0', port));
  await site.switchTo('1.0');
  await site.install('2.0', webService('2.0', port, 500));
  t.deepEqual(await site.switchTo('2.0'), [3, '1.0', '1.0']);
  t.regex(site.said.join('\n'), /web 2\.0: it was not healthy within 1000 ms: /);
  t.is(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'this is 1.0');
  t.is(site.runningVersion(), '1.0');
  // It ends at once, and whoever waits does not wait for the time of its health.
  await site.install('3.0', {
    ...waiter('3.0'),
    'bin/wait': '#!/bin/sh\necho no config >&2\nexit 1\n',
  });
  t.deepEqual(await site.switchTo('3.0'), [3, '1.0', '1.0']);
  t.regex(site.said.join('\n'), /web 3\.0: it ended by itself\nno config/);
  t.is(site.runningVersion(), '1.0');
});

test('switchPackage() ends with 4 when there is nothing healthy to go back to', async (t) => {
  const site = await Site.open(t);
  await site.install('1.0', { ...waiter('1.0'), 'bin/wait': '#!/bin/sh\nexit 1\n' });
  t.deepEqual(await site.switchTo('1.0'), [4, null, null]);
  t.is(await site.currentLink(), undefined);
  await site.install('2.0', waiter('2.0'));
  await site.switchTo('2.0');
  await rm(join(site.folder, (await site.currentLink()) ?? '', 'bin', 'wait'));
  t.deepEqual(await site.switchTo('1.0'), [4, '2.0', '2.0']);
  t.deepEqual(site.running(), []);
});

test('switchPackage() refuses a version that is not installed, and touches nothing', async (t) => {
  const site = await Site.open(t);
  await site.install('1.0', waiter('1.0'));
  await site.switchTo('1.0');
  const before = site.running();
  await t.throwsAsync(site.switchTo('1.1'), { code: 'ERR_NOT_FOUND' });
  t.deepEqual(site.running(), before);
});

test('switchPackage() ends every process of the former version, by its stop program if it has one', async (t) => {
  const site = await Site.open(t);
  const stubborn = {
    ...waiter('1.0', 'stopTimeout: 100ms'),
    // One that hears no SIGTERM, and one with another session and no parent.
    'bin/wait': `#!/bin/sh
trap '' TERM
(setsid sh -c 'trap "" TERM; while :; do sleep 1000; done' &)
while :; do sleep 1000; done
`,
  };
  await site.install('1.0', stubborn);
  await site.switchTo('1.0');
  const polite = {
    ...waiter('2.0', 'stop: [bin/stop]'),
    'bin/stop': '#!/bin/sh\ntouch ../../stopped\nkill -9 $(cat ../../pid)\n',
    'bin/wait': '#!/bin/sh\necho $$ > ../../pid\nexec sleep 1000\n',
  };
  await site.install('2.0', polite);
  t.deepEqual(await site.switchTo('2.0'), [0, '2.0', '1.0']);
  t.is(site.runningVersion(), '2.0');
  await site.switchTo(undefined);
  t.deepEqual(site.running(), []);
  await t.notThrowsAsync(access(join(site.folder, 'stopped')));
});

test('switchPackage() takes up a switch that was killed at any step', async (t) => {
  const site = await Site.open(t);
  await site.install('1.0', waiter('1.0'));
  await site.install('2.0', waiter('2.0'));
  let deaths = 0;
  for (let steps = 0; ; steps += 1) {
    t.deepEqual((await site.switchTo('1.0')).slice(0, 2), [0, '1.0'], `before ${steps}`);
    t.is(site.runningVersion(), '1.0');
    await using opened = await site.opened();
    const dying = dyingAfter(steps, opened);
    const became = await site.switchTo('2.0', { folder: dying.folder }).catch(() => undefined);
    await opened[Symbol.asyncDispose]();
    if (!dying.isDead()) {
      t.deepEqual(became, [0, '2.0', '1.0']);
      break;
    }
    deaths += 1;
    t.true(site.running().length <= 1, `after ${steps} steps`);
    const standing = await site.install('1.0', waiter('1.0'));
    t.is(standing, '1.0', 'whoever goes back goes to what was healthy');
    const again = steps % 2 === 0 ? '2.0' : '1.0';
    const [exit, current, former] = await site.switchTo(again);
    t.deepEqual([exit, current], [0, again], `after ${steps} steps`);
    t.true(former === '1.0' || former === '2.0');
    t.is(site.runningVersion(), again);
  }
  t.true(deaths >= 5);
});

/** The folder of a process that dies when it has made so many changes: from then on it can do nothing. */
function dyingAfter(
  steps: number,
  folder: PackageFolder,
): { readonly folder: PackageFolder; readonly isDead: () => boolean } {
  let left = steps;
  let isDead = false;
  const proxy = new Proxy(folder, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        if (isDead) throw new CodedError('ERR_INTERNAL', 'dead');
        if (String(name).startsWith('set')) {
          isDead = left === 0;
          if (isDead) throw new CodedError('ERR_INTERNAL', 'dead');
          left -= 1;
        }
        return Reflect.apply(value, target, args);
      };
    },
  });
  return { folder: proxy, isDead: () => isDead };
}

test('installPackage() runs the install program once, where the version will run', async (t) => {
  const site = await Site.open(t);
  const files = {
    'package.yaml': 'name: web\nversion: "1.0"\ninstall: [bin/prepare, a b]\n',
    'bin/prepare': '#!/bin/sh\necho "$1 in $PWD" >> prepared\n',
  };
  await site.install('1.0', files);
  await site.install('1.0', files);
  const [directory = ''] = await readdir(join(site.folder, 'versions'));
  const path = join(site.folder, 'versions', directory);
  t.is(await readFile(join(path, 'prepared'), 'utf8'), `a b in ${path}\n`);
  // Nothing to start: the link is all there is.
  t.deepEqual(await site.switchTo('1.0'), [0, '1.0', null]);
  t.is(await site.currentLink(), `versions/${directory}`);
});

test('installPackage() leaves nothing of a version whose package is wrong or whose program fails', async (t) => {
  const site = await Site.open(t);
  await site.install('1.0', waiter('1.0'));
  const cases: [Record<string, string>, string, RegExp][] = [
    [waiter('1.1'), 'ERR_CONFIG', /\/version: is 1\.1, and 2\.0 was asked for/],
    [
      { ...waiter('2.0'), 'package.yaml': 'name: other\nversion: "2.0"\n' },
      'ERR_CONFIG',
      /\/name: is other/,
    ],
    [waiter('2.0', 'shell: true'), 'ERR_CONFIG', /package\.yaml: \/shell: is not known/],
    [waiter('2.0', 'stop: [../x]'), 'ERR_CONFIG', /\/stop\/0: is no program of the package/],
    [waiter('2.0', 'env: { ODONATA_CALL: x }'), 'ERR_CONFIG', /\/env\/ODONATA_CALL: is no name/],
    [waiter('2.0', 'stopTimeout: soon'), 'ERR_CONFIG', /\/stopTimeout: is no duration/],
    [
      { ...waiter('2.0', 'install: [bin/fail]'), 'bin/fail': '#!/bin/sh\necho no cc\nexit 7\n' },
      'ERR_COMMAND_FAILED',
      /status 7\nno cc/,
    ],
  ];
  for (const [files, code, message] of cases) {
    await t.throwsAsync(site.install('2.0', files), { code, message });
    await using folder = await site.opened();
    t.deepEqual(
      (await folder.versions()).map(({ version }) => version),
      ['1.0'],
    );
  }
  await site.install('2.0', waiter('2.0'));
  t.is((await readdir(join(site.folder, 'versions'))).length, 2, 'what was left is taken away');
});

test('installPackage() keeps so many versions, and those in use', async (t) => {
  const site = await Site.open(t);
  for (const version of ['1', '2', '3']) await site.install(version, waiter(version), 2);
  const kept = async (): Promise<string[]> =>
    (await readdir(join(site.folder, 'versions'))).map((name) => name.slice(0, -13)).toSorted();
  t.deepEqual(await kept(), ['2', '3']);
  await site.switchTo('2');
  for (const version of ['4', '5']) await site.install(version, waiter(version), 2);
  t.deepEqual(await kept(), ['2', '4', '5']);
});

async function keptIn(site: Site): Promise<string[]> {
  const names = await readdir(join(site.folder, 'versions'));
  return names.map((name) => (name.startsWith('.') ? name : name.slice(0, -13))).toSorted();
}

test('installPackage() keeps what ran before the current version, and a version that is installed again', async (t) => {
  const site = await Site.open(t);
  for (const version of ['1', '2']) {
    await site.install(version, waiter(version), 1);
    await site.switchTo(version);
  }
  await site.install('3', waiter('3'), 1);
  t.deepEqual(await keptIn(site), ['1', '2', '3']);
  await site.install('1', waiter('1'), 1);
  await site.install('1', waiter('1'), 1);
  t.deepEqual(await keptIn(site), ['1', '2']);
  t.deepEqual(await site.switchTo('1'), [0, '1', '2']);
  await site.install('4', waiter('4'), 1);
  await site.install('3', waiter('3'), 1);
  await site.install('4', waiter('4'), 1);
  t.deepEqual(await keptIn(site), ['1', '2', '4']);
});

test('installPackage() of a version that is there keeps it, were it the oldest of all', async (t) => {
  const site = await Site.open(t);
  for (const version of ['1', '2', '3']) await site.install(version, waiter(version));
  await site.switchTo('3');
  await site.install('1', waiter('1'), 1);
  t.deepEqual(await keptIn(site), ['1', '3']);
});

test('PackageFolder.sweep() takes away what a killed removal left, and nothing that is not its own', async (t) => {
  const site = await Site.open(t);
  await site.install('1', waiter('1'));
  const elsewhere = join(site.folder, 'elsewhere');
  await mkdir(elsewhere);
  await writeFile(join(elsewhere, 'precious'), '');
  const versions = join(site.folder, 'versions');
  await mkdir(join(versions, `.old-${'a'.repeat(16)}`, 'half'), { recursive: true });
  await mkdir(join(versions, `9-${'b'.repeat(12)}`));
  await mkdir(join(versions, 'notes'));
  // Planted links in the place of versions.
  await symlink(elsewhere, join(versions, `8-${'c'.repeat(12)}`));
  await symlink(elsewhere, join(versions, `.old-${'d'.repeat(16)}`));
  await symlink(elsewhere, join(versions, '.new'));
  await using folder = await site.opened();
  await folder.sweep();
  t.deepEqual(await readdir(elsewhere), ['precious']);
  t.deepEqual((await readdir(versions)).length, 2);
  t.true((await readdir(versions)).includes('notes'));
});

test('PackageFolder.open() refuses versions that lie elsewhere', async (t) => {
  const site = await Site.open(t);
  const elsewhere = join(site.folder, 'elsewhere');
  await mkdir(elsewhere);
  await symlink(elsewhere, join(site.folder, 'versions'));
  await t.throwsAsync(site.opened(), { code: 'ERR_OUTPUT_UNWRITABLE', message: /is no folder/ });
});

test('PackageFolder.open() lets one process in at a time', async (t) => {
  const site = await Site.open(t);
  const first = await site.opened();
  const second = site.opened();
  const isFirst = await Promise.race([second.then(() => false), clock.sleep(300).then(() => true)]);
  t.true(isFirst);
  await first[Symbol.asyncDispose]();
  await (await second)[Symbol.asyncDispose]();
});
