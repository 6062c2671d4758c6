import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { create } from 'tar';
import { eventually } from '../../bench/cluster/eventually.ts';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { findUser, ownUser } from '../../ops/agent/local-user.ts';
import { operatorKey, runDfops } from '../support/dfops.ts';
import { withCluster } from '../support/with-cluster.ts';

const HOSTS = 3;

/** A web service of this version, which listens where its host has it; one that is not well answers 500. */
async function packed(
  folder: string,
  { version, status }: { readonly version: string; readonly status: number },
): Promise<string> {
  const root = join(folder, version);
  await mkdir(join(root, 'bin'), { recursive: true });
  const manifest = `name: web
version: ${version}
start: [bin/web]
health: { command: [bin/check], interval: 100ms }
`;
  // FOLDER/versions/VERSION/bin/web: its port is beside FOLDER, where every version finds it.
  const port = `const port = Number(process.getBuiltinModule('node:fs').readFileSync(
  process.getBuiltinModule('node:path').join(process.argv[1], '../../../../../port')));
const http = process.getBuiltinModule('node:http');
`;
  const serve = `http.createServer((_request, response) => response.writeHead(${status}).end('${version}'))
  .listen(port, '127.0.0.1');
`;
  const check = `http.get({ port, host: '127.0.0.1' }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1))
  .on('error', () => process.exit(1));
`;
  await writeFile(join(root, 'package.yaml'), manifest);
  const shebang = `#!${process.execPath}\n`;
  await writeFile(join(root, 'bin', 'web'), shebang + port + serve, { mode: 0o755 });
  await writeFile(join(root, 'bin', 'check'), shebang + port + check, { mode: 0o755 });
  const file = join(folder, `web-${version}.tgz`);
  await create({ file, cwd: root, gzip: true }, ['.']);
  return file;
}

/** Folders of hosts, and the files that say what may be released there. */
async function hostFolders(files: Workplace, ports: readonly number[]): Promise<string[]> {
  const isRoot = process.getuid?.() === 0;
  const user = isRoot ? await findUser('nobody') : ownUser();
  return Promise.all(
    ports.map(async (port, at) => {
      const folder = await files.subfolder(`host-${at + 1}`);
      await chmod(folder, 0o755);
      const site = join(folder, 'web');
      await mkdir(site, { mode: 0o755 });
      if (isRoot) await chown(site, user.uid, user.gid);
      await writeFile(join(folder, 'port'), `${port}\n`);
      const rules = join(folder, 'commands.yaml');
      const rule = `packages:\n  web: { folder: ${site}, runAs: ${user.name} }\n`;
      await writeFile(rules, rule, { mode: 0o600 });
      return rules;
    }),
  );
}

/** What answers on a port: `200 1.0`. */
async function answerAt(port: number): Promise<string> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/`);
    return `${response.status} ${await response.text()}`;
  } catch {
    return 'nobody';
  }
}

test.serial(
  'a version is released to real hosts, a bad one comes back by itself, and so does a host that was away',
  async (t) => {
    await using files = await Workplace.open();
    await chmod(files.folder, 0o755);
    const keys = join(files.folder, 'keys');
    await writeFile(keys, `${operatorKey}\n`, { mode: 0o600 });
    const ports = await freePorts('127.0.0.1', HOSTS);
    const rules = await hostFolders(files, ports);
    const daemonArgs = (number: number): readonly string[] => [
      '--idc',
      `idc-${number}`,
      '--call-commands',
      rules[number - 1] ?? '',
    ];
    const options = { hosts: HOSTS, supernodeArgs: ['--api-key-file', keys], daemonArgs };
    const answers = async (): Promise<string[]> => Promise.all(ports.map(answerAt));
    await withCluster(t, options, async (cluster) => {
      const ok = async (words: readonly string[]): Promise<string> => {
        const { exitCode, stdout, stderr } = await runDfops(cluster, words);
        t.is(exitCode, 0, `${words.join(' ')}: ${stdout}${stderr}`);
        return stdout.trim();
      };
      try {
        for (const [version, status] of [
          ['1.0', 200],
          ['2.0', 500],
          ['3.0', 200],
        ] as const) {
          await ok(['packages', 'publish', await packed(files.folder, { version, status })]);
        }
        const plan = ['--on', 'all', '--batch-size', '1', '--health-timeout', '10s'];
        t.regex(await ok(['release', 'preview', 'web', '1.0', ...plan]), /to 3 hosts in 3 batches/);
        const unasked = await runDfops(cluster, ['release', 'start', 'web', '1.0', ...plan]);
        t.regex(unasked.stderr, /ERR_USAGE: nobody is here to be asked/);
        const first = ['release', 'start', 'web', '1.0', ...plan, '--yes', '--wait'];
        const started = await runDfops(cluster, first);
        t.not(started.exitCode, 0);
        t.regex(started.stderr, /ERR_RELEASE_NOT_DONE: .*paused: batch 1 has ended/);
        t.deepEqual((await answers()).filter((answer) => answer === '200 1.0').length, 1);
        const [id = ''] = started.stdout.split('\n');

        // It is led on by a supernode that was not there when it began.
        await cluster.supernode.kill('SIGKILL');
        await cluster.supernode.start();
        for (const host of cluster.hosts) await cluster.connected(host);
        await ok(['release', 'continue', id, '--wait']);
        t.deepEqual(await answers(), ['200 1.0', '200 1.0', '200 1.0']);

        const bad = [
          'release',
          'start',
          'web',
          '2.0',
          ...plan,
          '--pause',
          'none',
          '--yes',
          '--wait',
        ];
        const { exitCode, stdout, stderr } = await runDfops(cluster, bad);
        t.not(exitCode, 0, stdout);
        t.regex(stderr, /rolled-back.*rolled back: 1 hosts failed, and 0 may/, stdout);
        t.deepEqual(await answers(), ['200 1.0', '200 1.0', '200 1.0']);
        const [badId = ''] = stdout.split('\n');
        const shown = JSON.parse(await ok(['release', 'show', badId, '--json']));
        t.deepEqual(
          shown.batches.flat().map(({ stage }: { readonly stage?: string }) => stage),
          ['restored', undefined, undefined],
        );

        // Its dfdaemon is away while all go back, and what it runs is not what it should.
        const third = ['release', 'start', 'web', '3.0', ...plan, '--pause', 'every'];
        const begun = await runDfops(cluster, [...third, '--give-up', '2s', '--yes', '--wait']);
        const [lostId = ''] = begun.stdout.split('\n');
        const before = await answers();
        await runDfops(cluster, ['release', 'continue', lostId, '--wait']);
        const after = await answers();
        const lost = after.findIndex((answer, at) => answer !== before[at]);
        t.is(after[lost], '200 3.0', after.join());
        const { daemon } = cluster.host(lost + 1);
        await daemon.kill('SIGKILL');
        const back = await runDfops(cluster, ['release', 'rollback', lostId, '--wait']);
        t.regex(back.stderr, /rollback-failed/);
        t.deepEqual(
          await answers(),
          after.map((_answer, at) => (at === lost ? '200 3.0' : '200 1.0')),
        );
        t.regex(
          await ok(['release', 'show', lostId]),
          /lost, should have 1\.0, has not known, waiting, the host is away/,
        );
        await daemon.start();
        await eventually('the version that was decided', async () =>
          (await answers()).every((answer) => answer === '200 1.0') ? true : undefined,
        );
        await eventually('what is said of it', async () => {
          const text = await ok(['release', 'show', lostId]);
          return /mended, should have 1\.0, has 1\.0/.test(text) ? true : undefined;
        });
        const nothing = await runDfops(cluster, ['release', 'repair', lostId, '--preview']);
        t.regex(nothing.stderr, /ERR_NOT_FOUND: every host has come/);
        const plan1 = ['release', 'repair', lostId, '--on', 'all', '--yes', '--wait'];
        t.regex(await ok(plan1), /^2 hosts$/);
        t.deepEqual(await answers(), ['200 1.0', '200 1.0', '200 1.0']);

        t.regex(await ok(['packages', 'remove', 'web/2.0']), /^web\/2\.0 removed, .* freed$/);
        const needed = await runDfops(cluster, ['packages', 'remove', 'web/1.0']);
        t.regex(needed.stderr, /ERR_CONFLICT: web 1\.0 is needed: 3 hosts run it/);
      } finally {
        await runDfops(cluster, [
          'call',
          'package.switch',
          '--on',
          'all',
          '--wait',
          '--',
          'web',
          'none',
          '1000',
        ]);
      }
    });
  },
);
