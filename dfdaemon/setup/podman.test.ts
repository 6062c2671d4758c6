import test from 'ava';
import { parse } from 'smol-toml';
import { TestMachine, testClientSetup } from './client-setup.contract.ts';
import type { ClientSample } from './client-setup.contract.ts';

const CONFIG = '/etc/containers/registries.conf';
const OURS = '/etc/containers/registries.conf.d/odonata.conf';

function mirrorOf(location: string): object {
  return { location: `127.0.0.1:65001/${location}`, insecure: true };
}

const user = { home: '/home/u', configHome: '/home/u/conf' };
const USER_FOLDER = '/home/u/.config/containers';

const sample: Omit<ClientSample, 'path'> = {
  client: 'podman',
  texts: {
    'search alone': 'unqualified-search-registries = ["docker.io"] # mine\n',
    'the registry, with a mirror': `[[registry]]\nlocation = "quay.io"\n\n[[registry]]\n# mine\nprefix = "docker.io"\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "m.example"\n\n[[registry]]\nlocation = "x.io"`,
    'the registry, last': `[[registry]]\nprefix = "docker.io"\nlocation = "hub.example"\nblocked = false`,
  },
  later: (text) => `${text}\n\n[[registry]]\nlocation = "later.io"\n`,
};

testClientSetup(test, { ...sample, path: CONFIG });
testClientSetup(test, { ...sample, user, path: `${USER_FOLDER}/registries.conf` });

test('setup podman names the registry in the path of the mirror, and only docker.io by itself', async (t) => {
  using machine = new TestMachine();
  const { notes } = await machine.setUp('podman');
  const mirror = [{ location: '127.0.0.1:65001/docker.io', insecure: true }];
  const registry = [{ prefix: 'docker.io', location: 'docker.io', mirror }];
  t.deepEqual(parse(machine.get(OURS) ?? ''), { registry });
  t.regex(notes.join('\n'), /name others with --registry/);
});

test('setup podman --registry: a registry that the user wrote keeps its settings, ours is the first of its mirrors', async (t) => {
  using machine = new TestMachine();
  const theirs = '/etc/containers/registries.conf.d/10-lab.conf';
  machine.put(CONFIG, '[[registry]]\nlocation = "lab.test:5000"\n');
  machine.put(
    theirs,
    '[[registry]]\nprefix = "lab.test:5000"\nlocation = "in.test:5000/x"\ninsecure = true\n\n[[registry.mirror]]\nlocation = "m.example"\n',
  );
  const registries = [
    { name: 'lab.test:5000', isPlain: false },
    { name: 'plain.test:80', isPlain: true },
  ];
  await machine.setUp('podman', { registries });
  t.deepEqual(parse(machine.get(theirs) ?? '')['registry'], [
    {
      prefix: 'lab.test:5000',
      location: 'in.test:5000/x',
      insecure: true,
      mirror: [mirrorOf('in.test:5000/x'), { location: 'm.example' }],
    },
  ]);
  t.deepEqual(parse(machine.get(OURS) ?? '')['registry'], [
    {
      prefix: 'plain.test:80',
      location: 'plain.test:80',
      insecure: true,
      mirror: [mirrorOf('plain.test:80')],
    },
  ]);
});

test('setup podman refuses files in the old form and mirrors written inline', async (t) => {
  using machine = new TestMachine();
  machine.put(CONFIG, "[registries.search]\nregistries = ['docker.io']\n");
  const old = await t.throwsAsync(machine.setUp('podman'), { code: 'ERR_CLIENT_CONFIG' });
  t.regex(old?.message ?? '', /registries\.conf: is in the old form/);
  const inline = '[[registry]]\nlocation = "docker.io"\nmirror = [{ location = "m" }]\n';
  machine.put(CONFIG, inline);
  const error = await t.throwsAsync(machine.setUp('podman'), { code: 'ERR_CLIENT_CONFIG' });
  t.regex(error?.message ?? '', /no safe place/);
  t.is(machine.get(CONFIG), inline);
});

test('setup podman --user takes over what root says of a registry, unless the user reads none of that', async (t) => {
  using machine = new TestMachine(user);
  const mirror = '[[registry.mirror]]\nlocation = "m.example"\ninsecure = true\n';
  const text = `[[registry]]\nprefix = "lab.test:5000"\nlocation = "in.test/x"\nblocked = false\n${mirror}`;
  machine.put('/etc/containers/registries.conf.d/10-lab.conf', text);
  const registries = [{ name: 'lab.test:5000', isPlain: false }];
  const ours = `${USER_FOLDER}/registries.conf.d/odonata.conf`;
  const { notes, commands } = await machine.setUp('podman', { registries });
  t.deepEqual(parse(machine.get(ours) ?? '')['registry'], [
    {
      prefix: 'lab.test:5000',
      location: 'in.test/x',
      blocked: false,
      mirror: [mirrorOf('in.test/x'), { location: 'm.example', insecure: true }],
    },
  ]);
  t.is(machine.get('/etc/containers/registries.conf.d/10-lab.conf'), text);
  t.regex(notes.join('\n'), /10-lab\.conf says of lab\.test:5000 is copied/);
  t.deepEqual(commands, []);
  await machine.undo('podman');
  t.is(machine.get(ours), undefined);

  machine.put(`${USER_FOLDER}/registries.conf`, 'unqualified-search-registries = []\n');
  await machine.setUp('podman', { registries });
  t.deepEqual(parse(machine.get(ours) ?? '')['registry'], [
    { prefix: 'lab.test:5000', location: 'lab.test:5000', mirror: [mirrorOf('lab.test:5000')] },
  ]);
});
