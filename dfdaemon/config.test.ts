import test from 'ava';
import { bindCommand, newProgram, runProgram } from '../core/base/command-line.ts';
import { defaultSocketPath } from '../core/base/default-paths.ts';
import { renderOptionsDoc } from '../core/base/render-options.ts';
import { dfdaemonOptions, planDaemon } from './config.ts';
import type { DaemonPlace, DaemonPlan } from './config.ts';

const root: DaemonPlace = {
  user: { uid: 0, home: '/root' },
  memoryBytes: 8 * 2 ** 30,
  hasIpv6: true,
};
const ann: DaemonPlace = { ...root, user: { uid: 1000, home: '/home/ann' } };

/** The plan of a command line. */
async function plan(line: string, place = root): Promise<DaemonPlan> {
  let made: DaemonPlan | undefined;
  const program = newProgram({ name: 'dfdaemon', description: '', print: () => undefined });
  bindCommand(program, {
    table: dfdaemonOptions,
    env: {},
    action: async ({ options }) => {
      made = planDaemon(options, place);
    },
  });
  await runProgram(
    program,
    line.split(' ').filter((word) => word !== ''),
  );
  return made as DaemonPlan;
}

test('planDaemon() of nothing is a daemon of this machine, or of this user, without supernode', async (t) => {
  const { engine, socket, proxy, logLevel, notes } = await plan('');
  t.is(engine.dataDir, '/var/lib/odonata/dfdaemon');
  t.is(engine.storeDir, '/var/lib/odonata/dfdaemon/store');
  t.deepEqual(engine.supernodes, []);
  t.deepEqual(engine.listen, { host: '::', port: 65_002 });
  t.deepEqual(engine.originAllow, []);
  t.is(engine.ttlMs, 7 * 86_400_000);
  t.is(engine.quota, undefined);
  t.is(engine.encryption, 'tls');
  t.is(engine.compression, 'off');
  t.deepEqual(socket, { path: defaultSocketPath(root.user), mode: 0o600 });
  const { upstreams, ...rest } = proxy;
  t.is(upstreams.default, undefined);
  t.deepEqual(rest, {
    dataDir: '/var/lib/odonata/dfdaemon',
    listen: { host: '127.0.0.1', port: 65_001 },
    allow: [],
    originAllow: [],
    loginFile: undefined,
    rules: [],
    connectPorts: [443],
    intercept: [],
  });
  t.is(logLevel, 'info');
  t.deepEqual(notes, []);
  const own = await plan('', ann);
  t.is(own.engine.dataDir, '/home/ann/.odonata/dfdaemon');
  t.is(own.socket.path, defaultSocketPath(ann.user));
});

test('planDaemon() takes every option of the contract', async (t) => {
  const { engine, socket, proxy } = await plan(
    '--data-dir /d --supernode a --supernode [::1]:9 --join-token odt1_x --listen 10.0.0.5 --link-port 7 ' +
      '--proxy-port 8 --socket /s/d.sock --socket-mode 0660 --idc east --location a|b|c --seed --quota 10g ' +
      '--reserve 1g --ttl 0 --origin-allow 127.0.0.0/8 --origin-allow ::1 --upload-limit 1m --download-limit 2m ' +
      '--origin-limit 3m --origin-host-limit files.example=50MB/s,4 --origin-host-limit *=,2 --encryption none --compression off --link-workers 2 --proxy-allow 10.0.0.0/8 --proxy-connect-port 443 ' +
      '--proxy-connect-port 8443 --proxy-intercept *.test --proxy-rules {"url":"x","to":"direct"} ' +
      '--registry https://r.example --insecure-registry i.example',
  );
  t.like(engine, {
    dataDir: '/d',
    joinToken: 'odt1_x',
    idc: 'east',
    location: 'a|b|c',
    wantsSeed: true,
    quota: 10 * 2 ** 30,
    reserve: 2 ** 30,
    uploadRate: 2 ** 20,
    downloadRate: 2 * 2 ** 20,
    originRate: 3 * 2 ** 20,
    originHosts: [
      { host: 'files.example', bytesPerSecond: 50 * 2 ** 20, requests: 4 },
      { host: '*', bytesPerSecond: 0, requests: 2 },
    ],
    encryption: 'none',
    compression: 'off',
    workers: 2,
    ttlMs: undefined,
  });
  t.deepEqual(engine.supernodes, ['a:8002', '[::1]:9']);
  t.deepEqual(engine.originAllow, ['127.0.0.0/8', '::1/128']);
  t.deepEqual(engine.listen, { host: '10.0.0.5', port: 7 });
  t.deepEqual(engine.advertise, ['10.0.0.5']);
  t.deepEqual(socket, { path: '/s/d.sock', mode: 0o660 });
  const { upstreams, ...rest } = proxy;
  t.is(upstreams.default?.origin, 'https://r.example');
  t.is(upstreams.named('i.example')?.origin, 'http://i.example');
  t.deepEqual(rest, {
    dataDir: '/d',
    listen: { host: '10.0.0.5', port: 8 },
    allow: ['10.0.0.0/8'],
    originAllow: ['127.0.0.0/8', '::1/128'],
    loginFile: undefined,
    rules: [{ url: 'x', to: 'direct' }],
    connectPorts: [443, 8443],
    intercept: ['*.test'],
  });
});

test('planDaemon() advertises the address it listens on, unless that is any, or another is named', async (t) => {
  t.deepEqual((await plan('--listen 0.0.0.0')).engine.advertise, []);
  t.deepEqual((await plan('--listen ::')).engine.advertise, []);
  t.deepEqual((await plan('--listen 10.0.0.5 --advertise 1.2.3.4')).engine.advertise, ['1.2.3.4']);
  const v4only = await plan('', { ...root, hasIpv6: false });
  t.is(v4only.engine.listen?.host, '0.0.0.0');
});

test('planDaemon() keeps content in memory when asked, within a quarter of it', async (t) => {
  const one = await plan('--storage memory --data-dir /d', ann);
  t.true(one.isInMemory);
  t.regex(one.engine.storeDir, /^\/dev\/shm\/odonata-1000-[0-9a-f]{8}$/);
  t.is(one.engine.quota, 2 * 2 ** 30);
  t.is(one.engine.dataDir, '/d');
  const other = await plan('--storage memory --data-dir /e', ann);
  t.not(one.engine.storeDir, other.engine.storeDir);
  const told = await plan('--storage memory --memory-dir /mnt/ram --quota 0');
  t.is(told.engine.storeDir, '/mnt/ram');
  t.is(told.engine.quota, undefined);
});

test('planDaemon() refuses what cannot work, naming the option', async (t) => {
  const cases: [string, RegExp][] = [
    ['--idc a|b', /^--idc/],
    [`--location ${'x'.repeat(300)}`, /^--location/],
    ['--max-revocation-age 3h', /^--max-revocation-age: .* at least 4h$/],
    ['--link-port 5 --proxy-port 5', /^--link-port and --proxy-port are both 5/],
    ['--advertise 0.0.0.0', /^--advertise: other hosts cannot reach 0\.0\.0\.0/],
    ['--advertise [::]', /^--advertise/],
    [`--socket /${'x'.repeat(100)}`, /^--socket: a path of at most 96 bytes/],
    ['--link-port 65536', /^--link-port/],
    ['--socket-mode 0666', /^--socket-mode/],
    ['--registry https://r.example/v2', /^--registry/],
    ['--insecure-registry http://r.example', /^--insecure-registry/],
    ['--registries https://r.example', /unknown option '--registries'/],
  ];
  for (const [line, message] of cases) {
    await t.throwsAsync(plan(line), { code: 'ERR_USAGE', message }, line);
  }
  await t.notThrowsAsync(plan('--link-port 0 --proxy-port 0'));
});

test('planDaemon() notes options that have no effect', async (t) => {
  const { notes } = await plan('--join-token odt1_x --seed --memory-dir /m');
  t.is(notes.length, 2);
  t.regex(notes[0] ?? '', /--join-token, --seed has no effect without --supernode/);
  t.regex(notes[1] ?? '', /--memory-dir/);
});

test('dfdaemonOptions documents every option', (t) => {
  const doc = renderOptionsDoc('dfdaemon', dfdaemonOptions);
  for (const name of Object.keys(dfdaemonOptions)) t.regex(doc, new RegExp(`\`--${name}\``));
});
