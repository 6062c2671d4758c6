// What `dfdaemon setup` writes, read by the real clients at the paths where they look for it: they ask dfdaemon, and
// those that can go on without it do.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import { Program } from '../../bench/cluster/program.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { TestMachine } from '../../dfdaemon/setup/client-setup.contract.ts';
import type { ClientName, SetupUser } from '../../dfdaemon/setup/client-setup.ts';
import { faultsOfFolder, runClient, succeeded } from './clients.ts';
import { makeDebianRepository } from './debian-repository.ts';
import { labOf } from './mirror-lab.ts';
import type { MirrorLab } from './mirror-lab.ts';
import { emptyRun, inPrivate } from './private-root.ts';
import { Recorder } from './recorder.ts';

const HERE = '127.0.0.1';
const layers = [
  { kind: 'random', bytes: 2 * 1024 * 1024 },
  { kind: 'text', bytes: 100_000 },
] as const;
const labOfFile = labOf(test, () => ({ hosts: 1 }));

/** A machine whose client is set up, and the port that it was told of: the real dfdaemon of the lab behind a recorder. */
interface Scene {
  readonly lab: MirrorLab;
  readonly machine: TestMachine;
  readonly front: Recorder;
  /** A folder of its own. */
  readonly folder: string;
}

async function withSetup(
  t: ExecutionContext,
  options: {
    readonly client: ClientName;
    readonly given?: Readonly<Record<string, string>>;
    readonly isNamed?: boolean;
    readonly user?: SetupUser;
  },
  body: (scene: Scene) => Promise<void>,
): Promise<void> {
  t.timeout(300_000);
  const lab = labOfFile();
  const [host = '', port = ''] = lab.mirror(1).split(':');
  const [frontPort = 0] = await freePorts(HERE, 1);
  const upstream = { host, port: Number(port) };
  await using front = await Recorder.start({ host: HERE, port: frontPort }, upstream);
  using machine = new TestMachine(options.user);
  for (const [path, text] of Object.entries(options.given ?? {})) machine.put(path, text);
  const { folder } = await lab.pull();
  const registries = options.isNamed === true ? [{ name: lab.registry.name, isPlain: true }] : [];
  await machine.setUp(options.client, { port: frontPort, registries });
  await body({ lab, machine, front, folder });
}

/** Words that run a program with the machine's own folder in the place of `path`. */
function on(machine: TestMachine, path: string, argv: readonly string[]): string[] {
  return inPrivate(`${emptyRun}\nmount --bind ${machine.root}${path} ${path}`, argv);
}

function urls(front: Recorder): string {
  return front.requests.map(({ method, url }) => `${method} ${url}`).join('\n');
}

/** What `npm run`, which may run these tests, tells any npm below it: it would count more than its files. */
const noNpm = Object.fromEntries(
  Object.keys(process.env)
    .filter((name) => /^npm_/i.test(name))
    .map((name) => [name, undefined] as const),
);

const anything = '{"default": [{"type": "insecureAcceptAnything"}]}';

for (const given of [
  {},
  { '/etc/containers/registries.conf': 'unqualified-search-registries = []\n' },
]) {
  const name = Object.keys(given)[0] ?? 'no registries.conf';
  test(`skopeo reads what setup podman writes beside ${name}, and pulls without dfdaemon too`, async (t) => {
    const policy = { '/etc/containers/policy.json': anything };
    await withSetup(
      t,
      { client: 'podman', given: { ...given, ...policy }, isNamed: true },
      async (scene) => {
        const { lab, machine, front, folder } = scene;
        const image = await lab.push('by-skopeo', layers);
        const reference = `${lab.registry.name}/lab/by-skopeo:v1`;
        const pull = async (to: string): Promise<void> => {
          await mkdir(join(folder, to));
          const argv = [
            'skopeo',
            'copy',
            `docker://${reference}`,
            `dir:${join(folder, to, 'image')}`,
          ];
          const place = { workplace: lab.workplace, env: { TMPDIR: folder } };
          succeeded(await runClient(on(machine, '/etc/containers', argv), place));
          t.deepEqual(await faultsOfFolder(join(folder, to), image), []);
        };
        await pull('through');
        t.true(
          urls(front).includes(`GET /v2/${lab.registry.name}/lab/by-skopeo/manifests/v1`),
          urls(front),
        );
        t.is(front.allBlobBytes, image.blobBytes);
        await front[Symbol.asyncDispose]();
        await pull('without');
      },
    );
  });
}

test('podman reads what setup podman writes into the registry of the user', async (t) => {
  const { name } = labOfFile().registry;
  const given = {
    '/etc/containers/policy.json': anything,
    '/etc/containers/registries.conf': `[[registry]]\nlocation = "${name}"\ninsecure = true\n`,
  };
  await withSetup(
    t,
    { client: 'podman', given, isNamed: true },
    async ({ lab, machine, front, folder }) => {
      const image = await lab.push('by-podman', layers);
      const places = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run')];
      const podman = ['podman', ...places, '--storage-driver', 'vfs', '--events-backend=none'];
      const argv = [...podman, 'pull', `${name}/lab/by-podman:v1`];
      const place = { workplace: lab.workplace, env: { TMPDIR: folder } };
      succeeded(await runClient(on(machine, '/etc/containers', argv), place));
      t.is(front.allBlobBytes, image.blobBytes);
    },
  );
});

test('podman without root reads what setup podman --user writes', async (t) => {
  const user = { home: '/home/u', configHome: '/nowhere' };
  const given = { '/home/u/.config/containers/policy.json': anything };
  await withSetup(
    t,
    { client: 'podman', given, isNamed: true, user },
    async ({ lab, machine, front }) => {
      const image = await lab.push('by-user', layers);
      const [home, run] = [join(machine.root, user.home), join(machine.root, 'run')];
      await mkdir(run, { mode: 0o700 });
      // With no subordinate ids the user is root in his namespace, and nobody else is there.
      const nobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
      const own = 'chmod 711 "$ROOT" && chown -R 65534:65534 "$HOME" "$XDG_RUNTIME_DIR"';
      const end = 'kill "$(cat "$XDG_RUNTIME_DIR/libpod/tmp/pause.pid")"';
      const script = `${own} && { "$@"; code=$?; ${end}; exit $code; }`;
      const podman = ['podman', '--storage-driver', 'vfs', '--events-backend=none'];
      const pull = [...podman, 'pull', `${lab.registry.name}/lab/by-user:v1`];
      const argv = ['sh', '-c', script, 'sh', 'setpriv', ...nobody, ...pull];
      const env = { ROOT: machine.root, HOME: home, XDG_RUNTIME_DIR: run, TMPDIR: home };
      succeeded(await runClient(argv, { workplace: lab.workplace, env, cwd: machine.root }));
      t.is(front.allBlobBytes, image.blobBytes);
    },
  );
});

const configs = {
  'no config.toml': undefined,
  'a config.toml of version 2': `version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "pause"\n`,
};
for (const [name, text] of Object.entries(configs)) {
  test(`containerd starts with what setup containerd writes for ${name}, and its CRI plugin has it`, async (t) => {
    const given: Record<string, string> =
      text === undefined ? {} : { '/etc/containerd/config.toml': text };
    await withSetup(t, { client: 'containerd', given, isNamed: true }, async (scene) => {
      const { lab, machine, front, folder } = scene;
      const image = await lab.push('by-ctr', layers);
      const { workplace } = lab;
      const socket = join(folder, 'containerd.sock');
      const flags = [
        '--root',
        join(folder, 'root'),
        '--state',
        join(folder, 'state'),
        '-a',
        socket,
      ];
      const ctr = ['ctr', '-a', socket];
      await using engine = await Program.start({
        name: 'containerd',
        argv: on(machine, '/etc/containerd', ['containerd', ...flags]),
        logFile: join(folder, 'log'),
        guard: workplace.guard,
        env: { ...workplace.env, PATH: `${workplace.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
        look: async () => {
          const { exitCode } = await runClient([...ctr, 'version'], { workplace });
          return exitCode === 0 ? true : undefined;
        },
      });
      const plugins = succeeded(await runClient([...ctr, 'plugins', 'ls'], { workplace })).stdout;
      t.regex(plugins, /^io\.containerd\.grpc\.v1 +cri .* ok/m, engine.lastLog());
      t.regex(engine.lastLog(), /ConfigPath:\/etc\/containerd\/certs\.d/);
      const hosts = ['--hosts-dir', join(machine.root, '/etc/containerd/certs.d')];
      const reference = `${lab.registry.name}/lab/by-ctr:v1`;
      const pull = [...ctr, 'content', 'fetch', ...hosts, reference];
      succeeded(await runClient(pull, { workplace }));
      t.is(front.allBlobBytes, image.blobBytes);
      t.regex(
        urls(front),
        new RegExp(String.raw`^GET /v2/lab/by-ctr/blobs/\S+\?ns=${lab.registry.name}$`, 'm'),
      );
      t.notRegex(urls(front), /manifests\/v1/, 'tags are looked up at the registry');
      // Without dfdaemon: another image, since this one is there.
      const other = await lab.push('by-ctr-without', [{ kind: 'random', bytes: 500_000 }]);
      await front[Symbol.asyncDispose]();
      const again = `${lab.registry.name}/lab/by-ctr-without:v1`;
      succeeded(await runClient([...ctr, 'content', 'fetch', ...hosts, again], { workplace }));
      const there = succeeded(
        await runClient([...ctr, 'content', 'ls', '-q'], { workplace }),
      ).stdout;
      t.true([other.config, ...other.layers].every(({ digest }) => there.includes(digest)));
    });
  });
}

test('dockerd starts with what setup docker writes, and asks it for images of Docker Hub', async (t) => {
  const given = { '/etc/docker/daemon.json': '{ "debug": false, "log-level": "warn" }\n' };
  await withSetup(t, { client: 'docker', given }, async ({ lab, machine, front, folder }) => {
    const image = await lab.push('by-docker', layers);
    const { workplace } = lab;
    const socket = `unix://${join(folder, 'docker.sock')}`;
    const words = ['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')];
    words.push('--pidfile', join(folder, 'pid'), '-H', socket);
    words.push('--bridge=none', '--iptables=false', '--ip6tables=false');
    const docker = ['docker', '-H', socket];
    await using engine = await Program.start({
      name: 'dockerd',
      argv: on(machine, '/etc/docker', ['/usr/sbin/dockerd', ...words]),
      logFile: join(folder, 'log'),
      guard: workplace.guard,
      env: { ...workplace.env, PATH: `${workplace.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
      look: async () => {
        const { exitCode } = await runClient([...docker, 'version'], { workplace });
        return exitCode === 0 ? true : undefined;
      },
    });
    const format = ['-f', '{{json .RegistryConfig.Mirrors}}'];
    const info = succeeded(await runClient([...docker, 'info', ...format], { workplace }));
    t.regex(info.stdout, /^\["http:\/\/127\.0\.0\.1:\d+\/"\]$/m, engine.lastLog());
    succeeded(await runClient([...docker, 'pull', 'lab/by-docker:v1'], { workplace }));
    t.is(front.allBlobBytes, image.blobBytes);
  });
});

test('apt reads what setup apt writes: it fetches through dfdaemon, and directly when that is gone', async (t) => {
  await using origin = await startOrigin();
  await withSetup(t, { client: 'apt' }, async ({ lab, machine, front, folder }) => {
    const { workplace } = lab;
    const repository = await makeDebianRepository(workplace, { packages: 1, bytes: 100_000 });
    for (const [path, bytes] of Object.entries(repository.files)) {
      for (const name of new Set([path, path.replaceAll('+', '%2b')]))
        origin.set(name, { content: { bytes } });
    }
    machine.put('/etc/apt/sources.list', `deb [trusted=yes] ${origin.url('/')} ./\n`);
    const fetchTo = async (name: string): Promise<string> => {
      const place = join(folder, name);
      for (const path of ['lists/partial', 'archives/partial', 'got']) {
        await mkdir(join(place, path), { recursive: true });
      }
      const dirs = ['-o', `Dir::State::lists=${place}/lists`, '-o', `Dir::Cache=${place}`];
      const apt = ['apt-get', '-q', ...dirs, '-o', 'APT::Sandbox::User=root'];
      const script = '"$@" update && cd "$PLACE/got" && "$@" download odonata-compat-0 && ls';
      const argv = ['sh', '-ec', script, 'apt', ...apt];
      const setup = `mount --bind ${machine.root}/etc/apt /etc/apt`;
      const env = { PLACE: join(place), APT_CONFIG: undefined, http_proxy: undefined };
      return succeeded(await runClient(inPrivate(setup, argv), { workplace, env })).stdout;
    };
    t.regex(await fetchTo('through'), /odonata-compat-0.*\.deb/);
    t.regex(urls(front), /^GET \/healthz$/m);
    t.regex(urls(front), /^GET http:\/\/\S+\.deb$/m);
    await front[Symbol.asyncDispose]();
    t.regex(await fetchTo('without'), /odonata-compat-0.*\.deb/);
  });
});

test('npm reads what setup npm writes, and asks registries on 127.0.0.1 directly', async (t) => {
  await using near = await startOrigin();
  await using origin = await startOrigin({ host: '127.9.8.7' });
  const given = { '/usr/local/bin/node': '' };
  await withSetup(t, { client: 'npm', given }, async ({ lab, machine, front, folder }) => {
    const { workplace } = lab;
    const file = ['--globalconfig', join(machine.root, '/usr/local/etc/npmrc')];
    const words = [...file, '--cache', join(folder, 'cache'), '--fetch-retries=0'];
    const env = { http_proxy: undefined, https_proxy: undefined, no_proxy: undefined, ...noNpm };
    const npm = async (...argv: string[]): Promise<string> =>
      (await runClient(['npm', ...words, ...argv], { workplace, env, cwd: folder })).stdout;
    t.regex(await npm('config', 'get', 'proxy'), /^http:\/\/127\.0\.0\.1:\d+\/?$/m);
    t.regex(await npm('config', 'get', 'noproxy'), /localhost/);
    await npm('view', 'nothing-of-this-name', '--registry', origin.url('/'));
    t.regex(urls(front), /^GET http:\/\/127\.9\.8\.7:\d+\/nothing-of-this-name$/m);
    front.reset();
    await npm('view', 'nothing-of-this-name', '--registry', near.url('/'));
    t.is(near.stats('/nothing-of-this-name').requests, 1);
    t.is(urls(front), '');
  });
});

test('pip reads what setup pip writes, from the place where it looks for it', async (t) => {
  await using origin = await startOrigin();
  const given = { '/etc/pip.conf': '[global]\nretries = 0\n' };
  await withSetup(t, { client: 'pip', given }, async ({ lab, machine, front, folder }) => {
    const { workplace } = lab;
    const pip = async (...argv: string[]): Promise<string> => {
      const result = await runClient(['pip3', ...argv], {
        workplace,
        env: {
          http_proxy: undefined,
          no_proxy: undefined,
          PIP_FIND_LINKS: undefined,
          PIP_CONFIG_FILE: join(machine.root, '/etc/pip.conf'),
        },
        cwd: folder,
      });
      return result.stdout + result.stderr;
    };
    t.regex(await pip('config', 'list'), /^global\.proxy='http:\/\/127\.0\.0\.1:\d+'$/m);
    t.regex(await pip('config', 'debug'), /^ +\/etc\/pip\.conf, exists/m);
    await pip('download', '--index-url', origin.url('/simple'), 'nothing-of-this-name');
    t.regex(urls(front), /^GET http:\/\/\S+\/simple\/nothing-of-this-name\/$/m);
  });
});
