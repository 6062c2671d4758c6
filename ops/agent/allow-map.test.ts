import test from 'ava';
import type { ExecutionContext } from 'ava';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import type { CallOrder } from '../../core/identity/call-order.ts';
import { AllowMap } from './allow-map.ts';

const defaultUser = 'nobody';
const socket = '/run/odonata/dfdaemon.sock';

const file = `
commands:
  uptime: { program: /usr/bin/uptime, readOnly: true }
  restart:
    program: /usr/bin/systemctl
    args: [restart, --]
    parameters: [{ name: unit, pattern: '[a-z0-9@._-]+', maxBytes: 64 }]
    runAs: root
    maxTimeout: 5m
    lane: slow
    grace: 5s
  tail:
    program: /usr/bin/tail
    parameters:
      - { name: lines, type: integer, min: 1, max: 1000 }
      - { name: log, values: [app, access], optional: true }
  echo: { program: /bin/echo, rest: true }
`;

function order(fields: Partial<CallOrder>): CallOrder {
  return {
    cell: '',
    call: 'call0000',
    host: '',
    hosts: '',
    principal: 'tester',
    issued: 0,
    expires: 0,
    lane: 'fast',
    command: 'uptime',
    args: [],
    timeoutMs: 1_000,
    maxOutputBytes: 0,
    ...fields,
  };
}

async function written(t: ExecutionContext, text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'odonata-commands-'));
  t.teardown(async () => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'commands.yaml');
  await writeFile(path, text, { mode: 0o644 });
  return path;
}

test('AllowMap.argvOf() puts the host program and arguments first, then those of the order unchanged', async (t) => {
  const map = await AllowMap.load(await written(t, file), { defaultUser, socket });
  t.deepEqual(map.argvOf(order({})), {
    argv: ['/usr/bin/uptime'],
    runAs: 'nobody',
    graceMs: 2_000,
    isTool: false,
    isReadOnly: true,
    startsService: false,
    limits: {},
  });
  const restart = order({ command: 'restart', args: ['-web@1.service'], lane: 'slow' });
  t.deepEqual(map.argvOf(restart), {
    argv: ['/usr/bin/systemctl', 'restart', '--', '-web@1.service'],
    runAs: 'root',
    graceMs: 5_000,
    isTool: false,
    isReadOnly: false,
    startsService: false,
    limits: {},
  });
  t.deepEqual(map.argvOf({ ...restart, runAs: 'root' }).runAs, 'root');
  const odd = ['', ';', '$(x)', '`x`', 'a\nb', '-n', 'ünï🦀'];
  t.deepEqual(map.argvOf(order({ command: 'echo', args: odd })).argv, ['/bin/echo', ...odd]);
  t.deepEqual(map.argvOf(order({ command: 'tail', args: ['10'] })).argv, ['/usr/bin/tail', '10']);
});

test('AllowMap.argvOf() gives the limits of a command and of scripts, and packages their own life', (t) => {
  const limits = { memory: '512MiB', processes: 100, cpu: '50%' };
  const map = new AllowMap(
    {
      commands: { big: { program: '/bin/big', limits }, small: { program: '/bin/small' } },
      scripts: { limits: { cpu: '150.5%' } },
      packages: { web: { folder: '/opt/web' } },
    },
    { defaultUser, socket },
  );
  const big = { memory: 536_870_912, processes: 100, cpu: 0.5 };
  t.like(map.argvOf(order({ command: 'big' })), { limits: big, startsService: false });
  t.deepEqual(map.argvOf(order({ command: 'small' })).limits, {});
  const args = ['http://h/a', `sha256:${'a'.repeat(64)}`];
  const script = order({ command: 'script.run', args });
  t.like(map.argvOf(script), { limits: { cpu: 1.505 }, startsService: false });
  const change = order({ command: 'package.switch', args: ['web', 'none', '1000'] });
  t.like(map.argvOf(change), { limits: {}, startsService: true });
  t.deepEqual([...map.limits].toSorted(), ['cpu', 'memory', 'processes']);
  t.is(AllowMap.builtIn({ defaultUser, socket }).limits.size, 0);
});

test('AllowMap.argvOf() refuses what the host does not let be run, or not so', async (t) => {
  const map = await AllowMap.load(await written(t, file), { defaultUser, socket });
  const forbidden: Partial<CallOrder>[] = [
    { command: 'rm' },
    { command: 'constructor' },
    { command: '__proto__' },
    { command: 'uptime', runAs: 'root' },
    { command: 'restart', args: ['web'], lane: 'fast' },
  ];
  for (const fields of forbidden) {
    t.throws(() => map.argvOf(order(fields)), { code: 'ERR_FORBIDDEN' }, JSON.stringify(fields));
  }
});

test('AllowMap.argvOf() names the parameter that is wrong', async (t) => {
  const map = await AllowMap.load(await written(t, file), { defaultUser, socket });
  const wrong: [Partial<CallOrder>, RegExp][] = [
    [{ args: ['x'] }, /^args: has 1/],
    [{ command: 'tail', args: [] }, /^lines: is missing/],
    [{ command: 'tail', args: ['0'] }, /^lines: is not from 1 to 1000/],
    [{ command: 'tail', args: ['1e2'] }, /^lines: is no whole number/],
    [{ command: 'tail', args: ['1', 'app '] }, /^log: is none of its values/],
    [{ command: 'tail', args: ['1', 'app', 'more'] }, /^args: has 3/],
    [{ command: 'echo', args: ['ok', 'a\0b'] }, /^args\[1\]: holds a NUL/],
  ];
  for (const arg of ['', 'web;', 'web\n', '\nweb', 'a b', 'A', 'x\0', 'x'.repeat(65)]) {
    wrong.push([{ command: 'restart', args: [arg], lane: 'slow' }, /^unit: /]);
  }
  wrong.push([
    { command: 'restart', args: ['web'], lane: 'slow', timeoutMs: 300_001 },
    /^timeoutMs: is above/,
  ]);
  for (const [fields, message] of wrong) {
    const error = t.throws(() => map.argvOf(order(fields)), { message }, JSON.stringify(fields));
    t.like(error, { code: 'ERR_REQUEST' });
  }
});

test('AllowMap takes patterns in linear time, those that backtrack among them', (t) => {
  const map = new AllowMap(
    {
      commands: {
        bad: {
          program: '/bin/true',
          parameters: [{ name: 'x', pattern: '(a+)+b', maxBytes: 4096 }],
        },
      },
    },
    { defaultUser, socket },
  );
  // With a backtracking matcher this would take longer than the machine lasts.
  t.throws(() => map.argvOf(order({ command: 'bad', args: ['a'.repeat(4_000)] })), {
    code: 'ERR_REQUEST',
  });
});

test('AllowMap.argvOf() refuses a command line in which a pattern of "refuse" is found', async (t) => {
  const text = `${file}refuse: ['\\bof=/dev/', 'rm .*-[a-z]*r']\n`;
  const map = await AllowMap.load(await written(t, text), { defaultUser, socket });
  const tried = (...args: string[]) => t.throws(() => map.argvOf(order({ command: 'echo', args })));
  t.is(CodedError.from(tried('if=x', 'of=/dev/sda')).code, 'ERR_FORBIDDEN');
  t.is(CodedError.from(tried('rm\t', '\n-fr')).code, 'ERR_FORBIDDEN');
  const { argv } = map.argvOf(order({ command: 'echo', args: ['of=/tmp/x'] }));
  t.deepEqual(argv, ['/bin/echo', 'of=/tmp/x']);
});

test('AllowMap.load() names the file and the field that is wrong', async (t) => {
  const cases: [string, RegExp][] = [
    ['commands: { x: { program: bin/x } }', /\/commands\/x\/program/],
    ['commands: { x: { program: /bin/x, shell: true } }', /\/commands\/x\/shell: is not known/],
    ['commands: { X: { program: /bin/x } }', /\/commands\/X: is no name/],
    ['command: {}', /commands: is missing|command: is not known/],
    ["refuse: ['a', '(']", /\/refuse\/1: is no RE2 pattern/],
    ['commands: { x: { program: /bin/x, grace: soon } }', /\/commands\/x\/grace: is no duration/],
    ['commands: { x: { program: /bin/x, grace: 1h } }', /\/commands\/x\/grace: is above/],
    ['commands: { x: { program: /bin/x, limits: { disk: 1g } } }', /\/limits\/disk: is not known/],
    ['commands: { x: { program: /bin/x, limits: { memory: much } } }', /\/memory: is no size/],
    ['commands: { x: { program: /bin/x, limits: { memory: 1k } } }', /\/memory: is below 4MiB/],
    ['commands: { x: { program: /bin/x, limits: { cpu: 0% } } }', /\/limits\/cpu: is no share/],
    ["commands: { x: { program: /bin/x, limits: { cpu: '2' } } }", /\/limits\/cpu: is no share/],
    ['commands: { x: { program: /bin/x, limits: { processes: 0 } } }', /\/limits\/processes/],
    ['scripts: { limits: { memory: 1x } }', /: \/scripts\/limits\/memory: is no size/],
    ['commands: { x: { program: /bin/x, runAs: -root } }', /\/commands\/x\/runAs/],
    [
      "commands: { x: { program: /bin/x, parameters: [{ name: a, pattern: '(' }] } }",
      /\/commands\/x\/parameters\/0\/pattern: is no RE2 pattern/,
    ],
    [
      'commands: { x: { program: /bin/x, parameters: [{ name: a }] } }',
      /\/commands\/x\/parameters\/0: needs exactly one/,
    ],
    [
      'commands: { x: { program: /bin/x, parameters: [{ name: a, values: [b], min: 1 }] } }',
      /\/commands\/x\/parameters\/0\/min: is for/,
    ],
    [
      'commands: { x: { program: /bin/x, parameters: [{ name: a, type: integer, optional: true }, { name: b, type: integer }] } }',
      /\/commands\/x\/parameters\/1: follows one/,
    ],
  ];
  for (const [text, message] of cases) {
    const path = await written(t, text);
    const error = await t.throwsAsync(
      AllowMap.load(path, { defaultUser, socket }),
      { message },
      text,
    );
    t.like(error, { code: 'ERR_CONFIG' });
    t.true(error?.message.startsWith(`${path}: `), error?.message);
  }
});

test('AllowMap.load() refuses a file that others can write, or replace', async (t) => {
  const path = await written(t, file);
  for (const mode of [0o664, 0o646]) {
    await chmod(path, mode);
    await t.throwsAsync(AllowMap.load(path, { defaultUser, socket }), {
      code: 'ERR_CONFIG',
      message: /can be written by others/,
    });
  }
  await chmod(path, 0o644);
  await chmod(join(path, '..'), 0o777);
  await t.throwsAsync(AllowMap.load(path, { defaultUser, socket }), {
    code: 'ERR_CONFIG',
    message: /its folder can be written by others/,
  });
  await chmod(join(path, '..'), 0o700);
  await t.notThrowsAsync(AllowMap.load(path, { defaultUser, socket }));
  await t.throwsAsync(AllowMap.load(`${path}.missing`, { defaultUser, socket }), {
    code: 'ERR_CONFIG',
  });
});

test('AllowMap.load() takes the file that docs/calls-on-hosts.md shows', async (t) => {
  const page = await readFile(join(import.meta.dirname, '../../docs/calls-on-hosts.md'), 'utf8');
  const [, shown = ''] = /```yaml\n([^`]*)```/.exec(page) ?? [];
  const map = await AllowMap.load(await written(t, shown), { defaultUser, socket });
  t.deepEqual(map.names, ['uptime', 'restart', 'errors', 'echo']);
  const restart = order({ command: 'restart', args: ['nginx.service'], lane: 'slow' });
  t.like(map.argvOf(restart), { runAs: 'root' });
  t.like(map.argvOf(order({ command: 'errors', args: ['100', 'app'] })), { runAs: 'logreader' });
});

test('AllowMap.builtIn() takes no argument of a caller', (t) => {
  const map = AllowMap.builtIn({ defaultUser, socket });
  t.true(map.names.includes('uptime'));
  for (const command of map.names) {
    t.is(map.argvOf(order({ command })).runAs, defaultUser);
    t.throws(() => map.argvOf(order({ command, args: ['x'] })), { code: 'ERR_REQUEST' });
  }
});
