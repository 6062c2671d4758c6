import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { errorLines, newProgram, runProgram } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Environment } from '../../core/base/resolve-options.ts';
import { TestMachine } from './client-setup.contract.ts';
import { addSetupCommand } from './setup-command.ts';

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `dfdaemon setup …` as its main does; the home folder is `home`. */
async function setup(argv: readonly string[], home: string, env: Environment = {}): Promise<Ran> {
  let stdout = '';
  const print = (text: string): void => void (stdout += text);
  const program = newProgram({ name: 'dfdaemon', description: '', print });
  addSetupCommand(program, { env, uid: process.getuid?.() ?? 0, home, print });
  try {
    await runProgram(program, ['setup', ...argv]);
    return { code: 0, stdout, stderr: '' };
  } catch (error) {
    const coded = CodedError.from(error);
    return { code: coded.facts.exit, stdout, stderr: errorLines('dfdaemon', coded) };
  }
}

test('dfdaemon setup is a command of the program, and its flags are not those of the daemon', async (t) => {
  using machine = new TestMachine();
  const run = promisify(execFile);
  const main = join(import.meta.dirname, '..', 'main.ts');
  const argv = [main, 'setup', 'docker', '--root', machine.root];
  const env = { PATH: process.env['PATH'], HOME: machine.root, ODONATA_REGISTRY: 'http://x' };
  const { stdout, stderr } = await run(process.execPath, argv, { env });
  t.regex(stdout, /^docker: made /);
  t.is(stderr, '');
  t.truthy(machine.get('/etc/docker/daemon.json'));
});

test('dfdaemon setup docker, --list and --undo say what they did', async (t) => {
  using machine = new TestMachine();
  const { root } = machine;
  const done = await setup(['docker', '--root', root, '--port', '7001'], root);
  t.is(done.code, 0, done.stderr);
  t.regex(
    done.stdout,
    /^docker: made \/etc\/docker\/daemon\.json\n {2}to do: systemctl reload docker\n {2}note: /,
  );
  t.regex(done.stdout, /dfdaemon setup docker --undo\n$/);
  t.regex(machine.get('/etc/docker/daemon.json') ?? '', /127\.0\.0\.1:7001/);
  const list = await setup(['--list', '--root', root], root);
  t.is(list.stdout, 'docker: /etc/docker/daemon.json (127.0.0.1:7001): as set up\n');
  const again = await setup(['docker', '--root', root], root, {
    ODONATA_PROXY_PORT: '7001',
    ODONATA_REGISTRY: 'http://not.for.us',
  });
  t.regex(again.stdout, /^docker: as it should be \/etc\/docker\/daemon\.json\n/);
  const undone = await setup(['docker', '--undo', '--root', root], root);
  t.regex(
    undone.stdout,
    /^docker: removed \/etc\/docker\/daemon\.json\n {2}to do: systemctl restart docker\n$/,
  );
  t.is((await setup(['--list', '--root', root], root)).stdout, 'nothing is set up\n');
});

test('dfdaemon setup --json gives one object, with the diff when nothing is written', async (t) => {
  using machine = new TestMachine();
  const { root } = machine;
  const dry = JSON.parse(
    (await setup(['podman', '--json', '--dry-run', '--root', root], root)).stdout,
  ) as {
    files: { diff: string }[];
  };
  t.like(dry, { client: 'podman', action: 'setup', isDryRun: true });
  t.regex(dry.files[0]?.diff ?? '', /^\+location = "127\.0\.0\.1:65001\/docker\.io"$/m);
  t.false(existsSync(join(root, 'etc')));
  await setup(['podman', '--root', root], root);
  const list = JSON.parse(
    (await setup(['--list', '--json', '--root', root], root)).stdout,
  ) as object;
  t.like(list, { client: 'podman', address: '127.0.0.1:65001' });
  const undone = JSON.parse(
    (await setup(['podman', '--undo', '--json', '--root', root], root)).stdout,
  ) as object;
  t.like(undone, { action: 'undo', files: [{ change: 'removed' }] });
});

test('dfdaemon setup npm|pip --user keep to the files of the user, which others may not read', async (t) => {
  using machine = new TestMachine();
  const home = machine.root;
  const npm = await setup(['npm', '--user'], home);
  t.is(npm.code, 0, npm.stderr);
  t.regex(npm.stdout, /dfdaemon setup npm --user --undo\n$/);
  t.is(statSync(join(home, '.npmrc')).mode & 0o777, 0o600);
  await setup(['pip', '--user'], home, { XDG_CONFIG_HOME: join(home, 'conf') });
  t.regex(readFileSync(join(home, 'conf/pip/pip.conf'), 'utf8'), /^proxy = /m);
  const list = await setup(['--list', '--user'], home);
  t.is(list.stdout.split('\n').length, 3);
  for (const client of ['npm', 'pip']) await setup([client, '--user', '--undo'], home);
  t.false(existsSync(join(home, '.npmrc')));
  t.false(existsSync(join(home, 'conf')));
});

test('dfdaemon setup --user refuses a home that is not its own', async (t) => {
  using machine = new TestMachine();
  const home = join(machine.root, 'nobody-has-this');
  for (const argv of [
    ['npm', '--user'],
    ['npm', '--user', '--undo'],
    ['pip', '--user', '--dry-run'],
  ]) {
    const ran = await setup(argv, home);
    t.is(ran.code, 8);
    t.regex(ran.stderr, /ERR_OUTPUT_UNWRITABLE: --user: .* is not the home folder/);
  }
  t.deepEqual(machine.all(), {});
});

const refusals: readonly (readonly [argv: string, says: RegExp])[] = [
  ['', /which client\? One of: containerd, docker, podman, apt, npm, pip/],
  ['dokcer', /no client is named "dokcer"; did you mean docker\?/],
  ['docker podman', /too many arguments/],
  ['docker --registry a.example', /--registry: a mirror of docker stands for docker\.io alone/],
  ['apt --user', /--user: apt is set up for the whole machine/],
  ['npm --user --root /x', /--user and --root/],
  ['npm --force', /--force goes with --undo/],
  ['pip --list', /--list takes no client/],
  ['containerd --registry a/b', /--registry: expected HOST or HOST:PORT, got "a\/b"/],
  ['containerd --registry ../../x', /--registry: expected HOST/],
  ['pip --proxy-port 0', /--proxy-port: expected/],
];
for (const [argv, says] of refusals) {
  test(`dfdaemon setup ${argv} is refused`, async (t) => {
    using machine = new TestMachine();
    const words = argv === '' ? [] : argv.split(' ');
    const root = argv.includes('--user') ? [] : ['--root', machine.root];
    const ran = await setup([...words, ...root], machine.root);
    t.is(ran.code, 1);
    t.regex(ran.stderr, /^dfdaemon: ERR_USAGE: /);
    t.regex(ran.stderr, says);
    t.deepEqual(machine.all(), {});
  });
}
