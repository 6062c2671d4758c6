import test from 'ava';
import { TestMachine, testClientSetup } from './client-setup.contract.ts';

const PATH = '/etc/pip.conf';

testClientSetup(test, {
  client: 'pip',
  path: PATH,
  texts: {
    'a global section':
      '# mine\n[global]\ntimeout = 60\nextra-index-url =\n    http://a.example\n    http://b.example\n[install]\nno-compile = yes\n',
    'other sections': '[install]\nno-compile = yes',
  },
  later: (text) => `${text}\n[list]\nformat = columns\n`,
});

test('setup pip writes into the section that is there, since pip takes none twice', async (t) => {
  using machine = new TestMachine();
  machine.put(PATH, '[global]\ntimeout = 60\n');
  await machine.setUp('pip');
  const text = machine.get(PATH) ?? '';
  t.is(text.match(/\[global\]/g)?.length, 1);
  t.regex(text, /^\[global\]\n# .*\nproxy = http:\/\/127\.0\.0\.1:65001\ntimeout = 60\n$/);
});

test('setup pip refuses beside another proxy', async (t) => {
  using machine = new TestMachine();
  machine.put(PATH, '[download]\nproxy: http://proxy.corp:3128\n');
  await t.throwsAsync(machine.setUp('pip'), {
    code: 'ERR_CLIENT_CONFIG',
    message: /sets a proxy already/,
  });
});
