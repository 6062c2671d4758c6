import test from 'ava';
import { parse } from 'smol-toml';
import { TestMachine, testClientSetup } from './client-setup.contract.ts';
import { valueAt } from './toml-file.ts';

const CONFIG = '/etc/containerd/config.toml';
const FOLDER = '/etc/containerd/certs.d';
const DEFAULT = `${FOLDER}/_default/hosts.toml`;
const URL_KEY = 'http://127.0.0.1:65001';
const CRI = '[plugins."io.containerd.grpc.v1.cri"';
const CRI_V2 = ['plugins', 'io.containerd.grpc.v1.cri', 'registry', 'config_path'];
const CRI_V3 = ['plugins', 'io.containerd.cri.v1.images', 'registry', 'config_path'];
const TRANSFER = ['plugins', 'io.containerd.transfer.v1.local', 'config_path'];
const mine = '\n# mine\n[debug]\n  level = "info"\n';

const configs = {
  'version 2': `# mine\nversion = 2\nroot = "/x" # keep\n\n${CRI}]\n  sandbox_image = "a"\n`,
  'version 2 as dumped': `version = 2\n[plugins]\n\n  ${CRI}.registry]\n    config_path = "" # none\n\n    ${CRI}.registry.mirrors]\n\n  [plugins."io.containerd.x"]\n    a = ""\n`,
  'version 3': `version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = ''\n[plugins.'io.containerd.transfer.v1.local']\n  max_concurrent_downloads = 3`,
};

testClientSetup(test, {
  client: 'containerd',
  path: DEFAULT,
  texts: {
    'a host of the user': `server = "https://up.example"\n\n[host."https://m.example"]\n  capabilities = ["pull"]\n  [host."https://m.example".header]\n    x-a = ["b"]\n`,
    'a server alone': '# mine\nserver = "https://up.example"',
  },
  others: { [CONFIG]: configs['version 2'] },
  later: (text) => `${text}\n[host."https://later.example"]\n`,
});

for (const [name, text] of Object.entries(configs)) {
  test(`setup containerd, ${name}: config_path is set, comments stay, --undo gives all back`, async (t) => {
    using machine = new TestMachine();
    machine.put(CONFIG, text);
    const { commands } = await machine.setUp('containerd');
    const now = machine.get(CONFIG) ?? '';
    for (const keys of name === 'version 3' ? [CRI_V3, TRANSFER] : [CRI_V2]) {
      t.is(valueAt(parse(now), keys), FOLDER, keys.join('.'));
    }
    const comments = text.match(/#.*/g) ?? [];
    t.true(comments.every((comment) => now.includes(comment)));
    t.deepEqual(commands, ['systemctl restart containerd']);
    machine.put(CONFIG, `${now}${mine}`);
    await machine.undo('containerd');
    t.is(machine.get(CONFIG), `${text}${mine}`);
  });
}

test('setup containerd leaves config.toml where config_path is set, and writes to the folder it names', async (t) => {
  using machine = new TestMachine();
  const text = `version = 2\n${CRI}.registry]\n  config_path = "/etc/hosts.d:/etc/docker/certs.d"\n`;
  machine.put(CONFIG, text);
  const { files, commands } = await machine.setUp('containerd');
  t.deepEqual(
    files.map(({ path }) => path),
    ['/etc/hosts.d/_default/hosts.toml'],
  );
  t.deepEqual(commands, [], 'hosts.toml is read at each pull');
  t.is(machine.get(CONFIG), text);
});

test('setup containerd leaves config.toml where the CRI plugin is disabled', async (t) => {
  using machine = new TestMachine();
  machine.put(CONFIG, 'disabled_plugins = ["cri"]\n');
  const { files, notes } = await machine.setUp('containerd');
  t.deepEqual(
    files.map(({ path }) => path),
    [DEFAULT],
  );
  t.regex(notes.join('\n'), /CRI plugin is disabled/);
});

const refused: Readonly<Record<string, readonly [text: string, says: RegExp]>> = {
  mirrors: [
    `version = 2\n${CRI}.registry.mirrors."docker.io"]\n  endpoint = ["https://m"]\n`,
    /mirrors; move/,
  ],
  'tls settings': [
    `version = 2\n${CRI}.registry.configs."a".tls]\n  ca_file = "x"\n`,
    /configs\.\*\.tls/,
  ],
  'version 1': ['[plugins.cri.registry]\n', /version 1 is too old/],
  'no TOML': ['version = 2\n[plugins\n', /line 2: not TOML/],
  'an inline table': [
    `version = 2\nplugins = { "io.containerd.grpc.v1.cri" = { a = 1 } }\n`,
    /no safe place/,
  ],
  'text that looks like a table': [
    `version = 2\nx = """\n${CRI}.registry]\n"""\n`,
    /no safe place/,
  ],
};
for (const [name, [text, says]] of Object.entries(refused)) {
  test(`setup containerd refuses ${name}, naming the file, and writes nothing`, async (t) => {
    using machine = new TestMachine();
    machine.put(CONFIG, text);
    const before = machine.all();
    const error = await t.throwsAsync(machine.setUp('containerd'), { code: 'ERR_CLIENT_CONFIG' });
    t.regex(error?.message ?? '', says);
    t.true(error?.message.startsWith(CONFIG));
    t.deepEqual(machine.all(), before);
  });
}

test('setup containerd --registry: a folder each, http as the way back for one without TLS, _default untouched', async (t) => {
  using machine = new TestMachine();
  machine.put(`${FOLDER}/b.test_5001_/hosts.toml`, 'server = "https://b.test:5001"\n');
  const registries = [
    { name: 'a.test:5000', isPlain: true },
    { name: 'b.test:5001', isPlain: false },
  ];
  await machine.setUp('containerd', { registries });
  const hosts = { [URL_KEY]: { capabilities: ['pull'] } };
  t.deepEqual(parse(machine.get(`${FOLDER}/a.test:5000/hosts.toml`) ?? ''), {
    server: 'http://a.test:5000',
    host: hosts,
  });
  t.deepEqual(parse(machine.get(`${FOLDER}/b.test_5001_/hosts.toml`) ?? ''), {
    server: 'https://b.test:5001',
    host: hosts,
  });
  t.is(machine.get(DEFAULT), undefined);
});

test('setup containerd asks us before the hosts of the user, and keeps their order', async (t) => {
  using machine = new TestMachine();
  machine.put(DEFAULT, '[host."https://z"]\n[host."https://a"]\n');
  await machine.setUp('containerd');
  const order = [...(machine.get(DEFAULT) ?? '').matchAll(/^\[host\."(.*)"\]/gm)].map(
    (line) => line[1],
  );
  t.deepEqual(order, [URL_KEY, 'https://z', 'https://a']);
});

test('setup containerd says which registries do not come to _default', async (t) => {
  using machine = new TestMachine();
  machine.put(`${FOLDER}/quay.io/hosts.toml`, 'server = "https://quay.io"\n');
  machine.put(`${FOLDER}/only-ca.example/ca.crt`, '');
  const { notes } = await machine.setUp('containerd');
  t.regex(notes.join('\n'), /^quay\.io have a hosts\.toml/m);
});
