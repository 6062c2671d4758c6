import test from 'ava';
import { TestMachine, testClientSetup } from './client-setup.contract.ts';

const PATH = '/usr/local/etc/npmrc';
const others = { '/usr/local/bin/node': '' };

testClientSetup(test, {
  client: 'npm',
  path: PATH,
  others,
  texts: {
    settings: '; mine\nregistry=http://npm.example/\n//npm.example/:_authToken=abc\n',
    'exceptions of the user': 'noproxy=.example\nfund=false',
  },
  later: (text) => `${text}\naudit=false\n`,
});

test('setup npm excepts this machine, whose registries dfdaemon may not be allowed to reach', async (t) => {
  using machine = new TestMachine();
  machine.put('/usr/local/bin/node', '');
  await machine.setUp('npm');
  t.regex(
    machine.get(PATH) ?? '',
    /^proxy=http:\/\/127\.0\.0\.1:65001\nnoproxy=localhost,127\.0\.0\.1,::1$/m,
  );
});

test('setup npm finds the file of the machine as npm does: by its node, or as Debian has it', async (t) => {
  using machine = new TestMachine();
  const none = await t.throwsAsync(machine.setUp('npm'), { code: 'ERR_CLIENT_CONFIG' });
  t.regex(none?.message ?? '', /--user/);
  machine.put('/usr/bin/node', '');
  await machine.setUp('npm');
  t.truthy(machine.get('/usr/etc/npmrc'));
  machine.put('/usr/share/nodejs/npm/npmrc', 'prefix=/usr/local\nglobalconfig=/etc/npmrc\n');
  await machine.setUp('npm');
  t.truthy(machine.get('/etc/npmrc'));
  t.is(machine.get('/usr/etc/npmrc'), undefined, 'what an earlier run set up is taken back');
});

for (const line of [
  'proxy=http://u:p@proxy.corp:3128',
  'https-proxy = "http://x"',
  'http_proxy=http://x',
]) {
  test(`setup npm refuses beside ${line.replace(/u:p@/, '')} and does not show it`, async (t) => {
    using machine = new TestMachine();
    machine.put('/usr/local/bin/node', '');
    machine.put(PATH, `${line}\n`);
    const error = await t.throwsAsync(machine.setUp('npm'), { code: 'ERR_CLIENT_CONFIG' });
    t.regex(error?.message ?? '', /sets a proxy already/);
    t.notRegex(error?.message ?? '', /corp/);
  });
}

test('setup npm shows no tokens with --dry-run', async (t) => {
  using machine = new TestMachine();
  machine.put('/usr/local/bin/node', '');
  machine.put(
    PATH,
    '//npm.example/:_authToken=abc\nregistry=http://u:hunter2@npm.example/\n_password=hunter2\n',
  );
  const { files } = await machine.setUp('npm', { isDryRun: true });
  const shown = files.map(({ diff }) => diff).join('');
  t.regex(shown, /_authToken=…/);
  t.notRegex(shown, /abc|hunter2/);
});
