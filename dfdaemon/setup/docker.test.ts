import test from 'ava';
import { TestMachine, testClientSetup } from './client-setup.contract.ts';
import type { ClientSample } from './client-setup.contract.ts';

const PATH = '/etc/docker/daemon.json';

const user = { home: '/home/u', configHome: '/home/u/conf' };
const sample: Omit<ClientSample, 'path'> = {
  client: 'docker',
  texts: {
    'other settings': '{\n    "log-driver": "local",\n    "dns": ["10.0.0.1"]\n}\n',
    'another mirror': '{"registry-mirrors": ["https://mirror.example"]}',
  },
  later: (text) =>
    JSON.stringify({ ...(JSON.parse(text === '' ? '{}' : text) as object), debug: true }),
};

testClientSetup(test, { ...sample, path: PATH });
testClientSetup(test, { ...sample, user, path: '/home/u/conf/docker/daemon.json' });

test('setup docker --user is for the dockerd of the user, and leaves that of the machine alone', async (t) => {
  using machine = new TestMachine(user);
  machine.put(PATH, '{}');
  machine.put('/etc/systemd/system/docker.service', 'ExecStart=dockerd --registry-mirror=x\n');
  const { commands, notes } = await machine.setUp('docker');
  t.is(machine.get(PATH), '{}');
  t.deepEqual(commands, ['systemctl --user reload docker']);
  t.regex(notes.join('\n'), /--detach-netns/);
  t.deepEqual((await machine.undo('docker')).commands, ['systemctl --user restart docker']);
  const dropIn = '/home/u/conf/systemd/user/docker.service.d/a.conf';
  machine.put(dropIn, '[Service]\nExecStart=dockerd-rootless.sh --registry-mirror=https://m\n');
  const error = await t.throwsAsync(machine.setUp('docker'), { code: 'ERR_CLIENT_CONFIG' });
  t.true(error?.message.startsWith(dropIn));
});

test('setup docker puts the mirror first and keeps order, indentation and the other mirrors', async (t) => {
  using machine = new TestMachine();
  machine.put(
    PATH,
    '{\n\t"debug": true,\n\t"registry-mirrors": ["https://m.example"],\n\t"a": 1\n}\n',
  );
  const { commands } = await machine.setUp('docker');
  const mirrors = '[\n\t\t"http://127.0.0.1:65001",\n\t\t"https://m.example"\n\t]';
  t.is(machine.get(PATH), `{\n\t"debug": true,\n\t"registry-mirrors": ${mirrors},\n\t"a": 1\n}\n`);
  t.deepEqual(commands, ['systemctl reload docker']);
  const undone = await machine.undo('docker');
  t.deepEqual(undone.commands, ['systemctl restart docker'], 'a reload would keep our mirror');
});

test('setup docker leaves a mirror that the user wrote, also on --undo', async (t) => {
  using machine = new TestMachine();
  const text = '{"registry-mirrors": ["http://127.0.0.1:65001/"]}';
  machine.put(PATH, text);
  await machine.setUp('docker');
  await machine.undo('docker');
  t.is(machine.get(PATH), text);
});

for (const text of ['{"a": 1,}', '[]', 'debug = true', '{"registry-mirrors": "http://x"}']) {
  test(`setup docker refuses ${text} by the name of the file and writes nothing`, async (t) => {
    using machine = new TestMachine();
    machine.put(PATH, text);
    const error = await t.throwsAsync(machine.setUp('docker'), { code: 'ERR_CLIENT_CONFIG' });
    t.regex(error?.message ?? '', /^\/etc\/docker\/daemon\.json: /);
    t.is(machine.get(PATH), text);
    t.is(machine.get('/var/lib/odonata/setup/docker.json'), undefined);
  });
}

test('setup docker refuses where dockerd is given --registry-mirror, beside which it would not start', async (t) => {
  using machine = new TestMachine();
  machine.put('/lib/systemd/system/docker.service', '# --registry-mirror=x\nExecStart=dockerd\n');
  await machine.setUp('docker');
  await machine.undo('docker');
  const dropIn = '/etc/systemd/system/docker.service.d/mirror.conf';
  machine.put(dropIn, '[Service]\nExecStart=\nExecStart=dockerd --registry-mirror=https://m\n');
  const error = await t.throwsAsync(machine.setUp('docker'), { code: 'ERR_CLIENT_CONFIG' });
  t.true(error?.message.startsWith(dropIn));
});
