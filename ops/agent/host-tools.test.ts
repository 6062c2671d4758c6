import test from 'ava';
import { access } from 'node:fs/promises';
import type { CallOrder } from '../../core/identity/call-order.ts';
import { AllowMap } from './allow-map.ts';

const options = { defaultUser: 'nobody', socket: '/run/odonata/dfdaemon.sock' };
const URL_ = 'https://o.example/web.tgz';
const DIGEST = `sha256:${'0a'.repeat(32)}`;

const file = {
  files: [{ folder: '/etc/web', runAs: 'root' }, { folder: '/etc/web/pages' }],
  packages: {
    web: { folder: '/opt/web', runAs: 'www-data' },
    lib: { folder: '/opt/lib', keep: 1 },
  },
};

function order(
  command: string,
  args: readonly string[],
  fields: Partial<CallOrder> = {},
): CallOrder {
  return {
    cell: '',
    call: 'call0000',
    host: '',
    hosts: '',
    principal: 'tester',
    issued: 0,
    expires: 0,
    lane: 'fast',
    command,
    args,
    timeoutMs: 1_000,
    maxOutputBytes: 0,
    ...fields,
  };
}

const put = (path: string, mode = '0644', owner = '-'): CallOrder =>
  order('file.put', [URL_, DIGEST, path, mode, owner]);

test('AllowMap.argvOf() comes to a tool of ours for files and packages, told the rules of the host first', async (t) => {
  const map = new AllowMap(file, options);
  t.deepEqual(map.names, ['file.put', 'package.install', 'package.switch']);
  const allowed = map.argvOf(put('/etc/web/a/b.conf', '0600', 'www-data:adm'));
  t.like(allowed, { runAs: 'root', isTool: true });
  const [program, main = '', rules = '', ...args] = allowed.argv;
  t.is(program, process.execPath);
  await t.notThrowsAsync(access(main));
  t.deepEqual(JSON.parse(rules), {
    tool: 'file.put',
    user: 'root',
    folder: '/etc/web',
    socket: options.socket,
  });
  t.deepEqual(args, [URL_, DIGEST, '/etc/web/a/b.conf', '0600', 'www-data:adm']);
  const rulesOf = (asked: CallOrder): unknown => JSON.parse(map.argvOf(asked).argv[2] ?? '');
  t.like(rulesOf(put('/etc/web/pages/x')), { user: 'nobody', folder: '/etc/web/pages' });
  t.deepEqual(rulesOf(order('package.install', ['web', '1.0', URL_, DIGEST])), {
    tool: 'package.install',
    user: 'www-data',
    folder: '/opt/web',
    socket: options.socket,
    keep: 3,
  });
  t.like(rulesOf(order('package.install', ['lib', '1.0', URL_, DIGEST])), { keep: 1 });
  t.deepEqual(rulesOf(order('package.switch', ['web', 'none', '1000'])), {
    tool: 'package.switch',
    user: 'www-data',
    folder: '/opt/web',
    keep: 3,
  });
});

test('AllowMap.argvOf() lets files and packages be where the file of the host says, and nowhere else', (t) => {
  const map = new AllowMap(file, options);
  const forbidden = [
    put('/etc/passwd'),
    put('/etc/webx/a'),
    put('/etc/web'),
    put('/a'),
    order('package.install', ['db', '1.0', URL_, DIGEST]),
    order('package.switch', ['constructor', 'none', '1000']),
    order('package.switch', ['web', '1.0', '1000'], { runAs: 'root' }),
  ];
  for (const asked of forbidden) {
    t.throws(() => map.argvOf(asked), { code: 'ERR_FORBIDDEN' }, asked.args.join(' '));
  }
  const without = new AllowMap({ commands: {} }, options);
  for (const asked of [put('/etc/web/a'), order('package.switch', ['web', 'none', '1000'])]) {
    t.throws(() => without.argvOf(asked), { code: 'ERR_FORBIDDEN', message: /has no command/ });
  }
});

test('AllowMap.argvOf() names the argument of a tool that is wrong', (t) => {
  const map = new AllowMap(file, options);
  const install = (...args: readonly string[]): CallOrder => order('package.install', args);
  const wrong: [CallOrder, RegExp][] = [
    [put('etc/web/a'), /^path: is not absolute/],
    [put('/etc/web/../shadow'), /^path: is not in its shortest form/],
    [put('/etc/web//a'), /^path: is not in its shortest form/],
    [put('/etc/web/./a'), /^path: is not in its shortest form/],
    [put('/etc/web/a/'), /^path: is not in its shortest form/],
    [put('/etc/web/a\0b'), /^path: holds a NUL/],
    [put(`/etc/web/${'a'.repeat(4_096)}`), /^path: has more than/],
    [put('/etc/web/a', '4755'), /^mode: /],
    [put('/etc/web/a', '0888'), /^mode: /],
    [put('/etc/web/a', 'u+s'), /^mode: /],
    [put('/etc/web/a', '0644', 'Root'), /^owner: /],
    [put('/etc/web/a', '0644', 'a:'), /^owner: /],
    [put('/etc/web/a', '0644', 'a:b:c'), /^owner: /],
    [order('file.put', [URL_, DIGEST, '/etc/web/a', '0644']), /^owner: is missing/],
    [order('file.put', [URL_, DIGEST, '/etc/web/a', '0644', '-', 'x']), /^args: has 6/],
    [install('web', '1.0', 'ftp://o/web', DIGEST), /^url: is no absolute http/],
    [install('web', '1.0', '/web', DIGEST), /^url: is no absolute http/],
    [install('web', '1.0', 'http://me:secret@o/web', DIGEST), /^url: holds a login/],
    [install('web', '1.0', URL_, 'sha256:00'), /^digest: /],
    [install('web', '1.0', URL_, DIGEST.toUpperCase()), /^digest: /],
    [install('web', 'none', URL_, DIGEST), /^version: /],
    [install('web', '../1', URL_, DIGEST), /^version: /],
    [install('../web', '1', URL_, DIGEST), /^name: /],
    [install('web', '1'), /^url: is missing/],
    [order('package.switch', ['web', '1.0', '0']), /^healthTimeoutMs: /],
    [order('package.switch', ['web', '1.0', '3600001']), /^healthTimeoutMs: /],
    [order('package.switch', ['web', '1.0', '1e3']), /^healthTimeoutMs: /],
  ];
  for (const [asked, message] of wrong) {
    const error = t.throws(() => map.argvOf(asked), { message }, asked.args.join(' '));
    t.like(error, { code: 'ERR_REQUEST' });
  }
});

test('AllowMap names the field of files and packages that is wrong', (t) => {
  const cases: [unknown, RegExp][] = [
    [{ files: [{ folder: 'etc' }] }, /^\/files\/0\/folder: /],
    [{ files: [{ folder: '/etc/../x' }] }, /^\/files\/0\/folder: is not in its shortest form/],
    [{ files: [{ folder: '/etc', runas: 'x' }] }, /^\/files\/0\/runas: is not known/],
    [{ packages: { Web: { folder: '/opt/web' } } }, /^\/packages\/Web: is no name/],
    [{ packages: { web: { folder: '/opt/web/' } } }, /^\/packages\/web\/folder: /],
    [{ packages: { web: { folder: '/opt/web', keep: 0 } } }, /^\/packages\/web\/keep/],
    [
      { packages: { a: { folder: '/opt/web' }, b: { folder: '/opt/web' } } },
      /^\/packages\/b\/folder: is that of a already/,
    ],
    [
      { commands: { 'file.put': { program: '/bin/cp' } } },
      /^\/commands\/file\.put: is a name of this program/,
    ],
  ];
  for (const [value, message] of cases) {
    const error = t.throws(() => new AllowMap(value, options), { message }, JSON.stringify(value));
    t.like(error, { code: 'ERR_CONFIG' });
  }
});
