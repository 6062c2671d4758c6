import { chownSync, linkSync, lstatSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { chmodSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { array, assert, nat, property, stringMatching, tuple } from 'fast-check';
import { RECORDS, TestMachine } from './client-setup.contract.ts';
import type { Registry } from './client-setup.ts';
import { appendLines, replaceLines, withoutEdits } from './file-edit.ts';
import { lineDiff } from './line-diff.ts';
import { listSetups, setUp } from './set-up.ts';

const PIP = '/etc/pip.conf';
const DOCKER = '/etc/docker/daemon.json';
const isRoot = process.getuid?.() === 0;

function named(name: string): Registry {
  return { name, isPlain: false };
}

test('undoSetup() refuses where our part was changed since, says what to take out, and changes nothing', async (t) => {
  using machine = new TestMachine();
  machine.put(PIP, '[global]\ntimeout = 60\n');
  await machine.setUp('pip');
  const edited = machine.get(PIP)?.replace('proxy = http', 'proxy=HTTP') ?? '';
  machine.put(PIP, edited);
  const before = machine.all();
  const error = await t.throwsAsync(machine.undo('pip'), { code: 'ERR_CLIENT_CONFIG' });
  t.regex(
    error?.message ?? '',
    /^\/etc\/pip\.conf: .*--undo --force.*\n.*\n {4}proxy = http:\/\/127\.0\.0\.1:65001$/s,
  );
  t.deepEqual(machine.all(), before);
  await t.throwsAsync(machine.setUp('pip', { port: 7001 }), { code: 'ERR_CLIENT_CONFIG' });
  t.deepEqual(machine.all(), before);
  // The way out that the message names.
  machine.put(PIP, '[global]\ntimeout = 61\n');
  await machine.undo('pip');
  t.is(machine.get(PIP), '[global]\ntimeout = 61\n');
});

test('undoSetup() with force gives back the former file and keeps the changed one', async (t) => {
  using machine = new TestMachine();
  machine.put(PIP, '[global]\ntimeout = 60\n');
  await machine.setUp('pip');
  const edited = machine.get(PIP)?.replace('proxy = http', 'proxy=HTTP') ?? '';
  machine.put(PIP, edited);
  const { notes } = await machine.undo('pip', { isForced: true });
  t.is(machine.get(PIP), '[global]\ntimeout = 60\n');
  const kept = /is kept in (\S+)/.exec(notes.join('\n'))?.[1] ?? '';
  t.is(machine.get(kept), edited);
  t.is(machine.mode(kept), 0o600);
});

test('undoSetup() of one client whose second file cannot be told refuses before the first is touched', async (t) => {
  using machine = new TestMachine();
  await machine.setUp('containerd');
  const hosts = '/etc/containerd/certs.d/_default/hosts.toml';
  machine.put(hosts, machine.get(hosts)?.replace('["pull"]', '["pull", "resolve"]') ?? '');
  const before = machine.all();
  await t.throwsAsync(machine.undo('containerd'), { code: 'ERR_CLIENT_CONFIG' });
  t.deepEqual(machine.all(), before);
});

test('undoSetup() leaves a file alone that the user removed', async (t) => {
  using machine = new TestMachine();
  machine.put(PIP, '[global]\n');
  await machine.setUp('pip');
  rmSync(join(machine.root, PIP));
  await machine.undo('pip');
  t.is(machine.get(PIP), undefined);
  t.deepEqual(await listSetups(machine.place), []);
});

test('undoSetup() leaves a folder that somebody uses by now', async (t) => {
  using machine = new TestMachine();
  await machine.setUp('containerd');
  machine.put('/etc/containerd/certs.d/_default/ca.crt', 'mine');
  await machine.undo('containerd');
  t.deepEqual(
    Object.entries(machine.all()).filter(([, text]) => text !== '/'),
    [['etc/containerd/certs.d/_default/ca.crt', 'mine']],
  );
});

test('setUp() that ended between its record and its files can be done again and undone', async (t) => {
  using machine = new TestMachine();
  machine.put(PIP, '[global]\ntimeout = 60\n');
  const before = machine.all();
  await machine.setUp('pip');
  const after = machine.all();
  machine.put(PIP, '[global]\ntimeout = 60\n');
  await machine.setUp('pip');
  t.deepEqual(machine.all(), after);
  machine.put(PIP, '[global]\ntimeout = 60\n');
  await machine.undo('pip');
  t.deepEqual(machine.all(), before);
  t.deepEqual(await listSetups(machine.place), []);
});

test('setUp() whose second file cannot be written leaves what --undo takes back', async (t) => {
  using machine = new TestMachine();
  machine.put('/etc/apt/apt.conf.d/70debconf', '');
  const before = machine.all();
  const { files } = machine.place;
  const write = files.write.bind(files);
  const broken = Object.assign(Object.create(files) as typeof files, {
    write: async (path: string, text: string, as: { readonly mode: number }) => {
      if (path.endsWith('95odonata')) throw new Error('the disk is gone');
      await write(path, text, as);
    },
  });
  const wishes = { address: '127.0.0.1:65001', registries: [], user: undefined };
  await t.throwsAsync(setUp('apt', { ...machine.place, files: broken }, wishes));
  await machine.undo('apt');
  t.deepEqual(machine.all(), before);
});

test('setUp() with other registries takes back those of before', async (t) => {
  using machine = new TestMachine();
  await machine.setUp('containerd', { registries: [named('a.example'), named('b.example')] });
  await machine.setUp('containerd', { registries: [named('b.example')] });
  t.is(machine.get('/etc/containerd/certs.d/a.example/hosts.toml'), undefined);
  t.truthy(machine.get('/etc/containerd/certs.d/b.example/hosts.toml'));
  t.deepEqual((await listSetups(machine.place))[0]?.registries, ['b.example']);
});

test('setUp() keeps its record from others, and believes none that others could have written', async (t) => {
  using machine = new TestMachine();
  await machine.setUp('pip');
  const record = `${RECORDS}/pip.json`;
  t.is(machine.mode(RECORDS), 0o700);
  t.is(machine.mode(record), 0o600);
  chmodSync(join(machine.root, RECORDS), 0o777);
  await t.throwsAsync(machine.undo('pip'), { code: 'ERR_STORE_IO', message: /alone may write/ });
  await t.throwsAsync(machine.setUp('pip'), { code: 'ERR_STORE_IO' });
  chmodSync(join(machine.root, RECORDS), 0o700);
  renameSync(join(machine.root, RECORDS), join(machine.root, 'elsewhere'));
  symlinkSync(join(machine.root, 'elsewhere'), join(machine.root, RECORDS));
  await t.throwsAsync(machine.undo('pip'), { code: 'ERR_STORE_IO' });
});

test('setUp() refuses a record that it does not understand, by its name', async (t) => {
  using machine = new TestMachine();
  await machine.setUp('pip');
  const path = `${RECORDS}/pip.json`;
  for (const text of [
    '',
    '{"v": 1',
    '{"v": 2}',
    machine.get(path)?.replace('"lines"', '"x"') ?? '',
  ]) {
    machine.put(path, text, 0o600);
    const error = await t.throwsAsync(machine.setUp('pip'), { code: 'ERR_STORE_IO' });
    t.true(error?.message.startsWith(path));
  }
});

test('setUp() follows a link and keeps it, but not out of the root', async (t) => {
  using machine = new TestMachine();
  machine.put('/etc/real.conf', '[global]\n');
  symlinkSync('real.conf', join(machine.root, PIP));
  await machine.setUp('pip');
  t.true(lstatSync(join(machine.root, PIP)).isSymbolicLink());
  t.regex(machine.get('/etc/real.conf') ?? '', /proxy/);
  await machine.undo('pip');
  t.is(machine.get('/etc/real.conf'), '[global]\n');

  using outside = new TestMachine();
  outside.put('/pip.conf', '[global]\n');
  for (const target of [join(outside.root, 'pip.conf'), '/nowhere/pip.conf']) {
    rmSync(join(machine.root, PIP), { force: true });
    symlinkSync(target, join(machine.root, PIP));
    await t.throwsAsync(machine.setUp('pip'), {
      code: 'ERR_CLIENT_CONFIG',
      message: /^\/etc\/pip\.conf: is a link/,
    });
  }
  rmSync(join(machine.root, 'etc'), { recursive: true });
  symlinkSync(outside.root, join(machine.root, 'etc'));
  await t.throwsAsync(machine.setUp('pip'), { code: 'ERR_CLIENT_CONFIG', message: /leads out of/ });
  t.is(outside.get('/pip.conf'), '[global]\n');
});

test('setUp() makes no record out of the root either', async (t) => {
  using machine = new TestMachine();
  using outside = new TestMachine();
  symlinkSync(outside.root, join(machine.root, 'var'));
  await t.throwsAsync(machine.setUp('pip'), {
    code: 'ERR_CLIENT_CONFIG',
    message: /leads out of/,
  });
  t.deepEqual(outside.all(), {});
  t.is(machine.get(PIP), undefined);
});

test('setUp() replaces a file whole: a reader that has it open sees no half of it', async (t) => {
  using machine = new TestMachine();
  machine.put(PIP, '[global]\n');
  linkSync(join(machine.root, PIP), join(machine.root, 'former'));
  await machine.setUp('pip');
  t.is(machine.get('/former'), '[global]\n', 'the former file is another one');
  t.deepEqual(Object.keys(machine.all()).toSorted(), ['etc', 'etc/pip.conf', 'former']);
});

const asRoot = isRoot ? test : test.skip;
asRoot(
  'setUp() keeps the owner of a file, and --undo too (only root gives files away)',
  async (t) => {
    using machine = new TestMachine();
    machine.put(DOCKER, '{}');
    const path = join(machine.root, DOCKER);
    chownSync(path, 12_345, 54_321);
    await machine.setUp('docker');
    t.like(statSync(path), { uid: 12_345, gid: 54_321 });
    await machine.undo('docker');
    t.like(statSync(path), { uid: 12_345, gid: 54_321 });
    t.is(machine.get(DOCKER), '{}');
  },
);

test('setUp() refuses by its name what is no text file', async (t) => {
  using machine = new TestMachine();
  mkdirSync(join(machine.root, PIP), { recursive: true });
  await t.throwsAsync(machine.setUp('pip'), {
    code: 'ERR_CLIENT_CONFIG',
    message: '/etc/pip.conf: is not a file',
  });
  rmSync(join(machine.root, PIP), { recursive: true });
  writeFileSync(join(machine.root, PIP), Buffer.from([0xff, 0xfe, 0x00]));
  await t.throwsAsync(machine.setUp('pip'), {
    code: 'ERR_CLIENT_CONFIG',
    message: '/etc/pip.conf: is not UTF-8 text',
  });
  writeFileSync(join(machine.root, PIP), '#'.repeat(1024 * 1024 + 1));
  await t.throwsAsync(machine.setUp('pip'), { code: 'ERR_CLIENT_CONFIG', message: /longer than/ });
  t.is(readFileSync(join(machine.root, PIP)).length, 1024 * 1024 + 1);
});

test('setUp() says when the client is not installed, and goes on', async (t) => {
  using machine = new TestMachine();
  const notFound = /docker was not found/;
  t.regex((await machine.setUp('docker')).notes.join('\n'), notFound);
  await machine.undo('docker');
  machine.put('/usr/bin/dockerd', '');
  t.notRegex((await machine.setUp('docker')).notes.join('\n'), notFound);
});

test('listSetups() tells what is as set up, changed since, and gone', async (t) => {
  using machine = new TestMachine();
  t.deepEqual(await listSetups(machine.place), []);
  for (const client of ['apt', 'docker', 'pip'] as const)
    await machine.setUp(client, { port: 7001 });
  machine.put(DOCKER, `${machine.get(DOCKER) ?? ''}\n`);
  rmSync(join(machine.root, PIP));
  const states = await listSetups(machine.place);
  t.deepEqual(
    states.map(({ client, address, files }) => [
      client,
      address,
      ...files.map(({ state }) => state),
    ]),
    [
      ['docker', '127.0.0.1:7001', 'changed since'],
      ['apt', '127.0.0.1:7001', 'as set up', 'as set up'],
      ['pip', '127.0.0.1:7001', 'gone'],
    ],
  );
});

const line = stringMatching(/^[ a-z#=[\]"]{0,8}$/);
const text = array(line, { maxLength: 8 }).map((lines) => lines.map((one) => `${one}\n`).join(''));

test('withoutEdits() takes an edit out of any text, whatever others wrote above and below since', (t) => {
  const block = 'ours 1\nours 2\n';
  assert(
    property(tuple(text, text, text), nat(), ([base, above, below], at) => {
      const starts = [0, ...[...base.matchAll(/\n/g)].map(({ index }) => index + 1)];
      const start = starts[at % starts.length] ?? 0;
      const edited = replaceLines(base, { start, end: start }, { block, mark: 'ours' });
      t.is(withoutEdits(`${above}${edited.text}${below}`, edited.edits), `${above}${base}${below}`);
      const appended = appendLines(base, { block, mark: 'ours' });
      t.is(
        withoutEdits(`${above}${appended.text}${below}`, appended.edits),
        `${above}${base}${below}`,
      );
    }),
  );
});

test('withoutEdits() does not choose between two places', (t) => {
  const edited = replaceLines('', { start: 0, end: 0 }, { block: 'ours\n', mark: 'ours' });
  t.is(withoutEdits('ours\nours\n', edited.edits), undefined);
  t.is(withoutEdits('theirs\n', edited.edits), 'theirs\n');
  t.is(withoutEdits('not ours\n', edited.edits), undefined);
});

/** What `patch` would make of it. */
function patched(before: string, diff: string): string {
  const old = before === '' ? [] : before.slice(0, -1).split('\n');
  const now: string[] = [];
  let taken = 0;
  for (const hunk of diff.split(/^(?=@@ )/m).slice(1)) {
    const [head = '', ...body] = hunk.slice(0, -1).split('\n');
    const [, at = '', count = ''] = /^@@ -(\d+),(\d+) /.exec(head) ?? [];
    const start = Number(at) - (count === '0' ? 0 : 1);
    now.push(...old.slice(taken, start));
    now.push(...body.filter((row) => !row.startsWith('-')).map((row) => row.slice(1)));
    taken = start + body.filter((row) => !row.startsWith('+')).length;
  }
  return [...now, ...old.slice(taken)].map((row) => `${row}\n`).join('');
}

test('lineDiff() shows far changes apart, and makes any text of any other', (t) => {
  const middle = 'x\n'.repeat(9);
  const far = lineDiff('/f', `a\n${middle}b\n`, `A\n${middle}B\n`);
  t.is(far.match(/^@@/gm)?.length, 2);
  t.true(far.includes('@@ -8,4 +8,4 @@\n x\n x\n x\n-b\n+B\n'), far);
  assert(
    property(tuple(text, text, text), ([shared, above, below]) => {
      const [before, after] = [`${above}${shared}${below}`, `${below}${shared}${above}`];
      t.is(patched(before, lineDiff('/f', before, after)), after);
    }),
  );
});

test('lineDiff() shows changed lines with three around them, in the form of diff -u', (t) => {
  const before = 'a\nb\nc\nd\ne\nf\ng\nh\n';
  const after = 'a\nb\nc\nd\nE\nf\ng\nh\n';
  t.is(
    lineDiff('/f', before, after),
    '--- /f\n+++ /f\n@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n',
  );
  t.is(lineDiff('/f', undefined, 'a\n'), '--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+a\n');
  t.is(lineDiff('/f', 'a\n', undefined), '--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n');
  t.is(lineDiff('/f', 'a\n', 'a\n'), '');
});
