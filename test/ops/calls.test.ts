import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { runCommand } from '../../bench/cluster/command.ts';
import type { CommandResult } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { withCluster } from '../support/with-cluster.ts';

const KEY = 'a-key-of-the-test-and-of-nobody-else';
const HOSTS = 4;

async function dfops(
  cluster: Cluster,
  words: readonly string[],
  key = KEY,
): Promise<CommandResult> {
  const argv = [process.execPath, join(checkout, 'ops', 'cli', 'main.ts'), ...words];
  const { guard, env } = cluster.workplace;
  const all = { ...env, ODONATA_API: cluster.apiUrl, ODONATA_API_KEY: key };
  return runCommand(argv, { guard, env: all });
}

/** The JSON objects of an output with one a line. */
function linesOf({ stdout }: CommandResult): Record<string, unknown>[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

test.serial('dfops call runs a command on all hosts, and gives their words and ends', async (t) => {
  await using files = await Workplace.open();
  const keys = join(files.folder, 'keys');
  const commands = join(files.folder, 'commands.yaml');
  await writeFile(keys, `${KEY}\n`, { mode: 0o600 });
  await writeFile(
    commands,
    `commands:
  uptime: { program: /usr/bin/uptime }
  print: { program: /usr/bin/printf, args: ['%s\\0'], rest: true }
  wait: { program: /bin/sleep, parameters: [{ name: seconds, type: integer, min: 0, max: 600 }] }
  'false': { program: /bin/false }
`,
    { mode: 0o600 },
  );
  const daemonArgs = (number: number): readonly string[] =>
    number === HOSTS ? ['--calls', 'off'] : ['--call-commands', commands];
  const options = { hosts: HOSTS, supernodeArgs: ['--api-key-file', keys], daemonArgs };
  await withCluster(t, options, async (cluster) => {
    const up = await dfops(cluster, ['call', 'uptime', '--on', 'all', '--wait', '--json']);
    t.is(up.exitCode, 0, up.stderr);
    const results = linesOf(up).filter(({ type }) => type === 'result');
    t.is(results.length, HOSTS - 1, 'one of them takes no calls');
    for (const result of results) t.like(result, { outcome: 'ok', exitCode: 0 });
    t.like(linesOf(up).at(-1), { type: 'ended', counts: { ok: HOSTS - 1 } });

    const odd = [';', '$(reboot)', '`x`', 'a\nb', '--help', '', 'é漢🐉', '*', '\'"\\'];
    const echoed = await dfops(cluster, [
      'call',
      'print',
      '--on',
      'all',
      '--wait',
      '--json',
      '--',
      ...odd,
    ]);
    t.is(echoed.exitCode, 0, echoed.stderr);
    const outputs = linesOf(echoed).filter(({ type }) => type === 'output');
    t.is(outputs.length, HOSTS - 1);
    for (const { data } of outputs) {
      t.is(Buffer.from(String(data), 'base64').toString(), odd.map((arg) => `${arg}\0`).join(''));
    }

    const failed = await dfops(cluster, ['call', 'false', '--on', 'all', '--wait']);
    t.not(failed.exitCode, 0);
    t.regex(failed.stdout, /: failed after .* s \(exit 1/);
    t.regex(failed.stderr, /ERR_COMMAND_FAILED: ended well on 0 of 3 hosts/);

    // The server says yes; the hosts know no such command.
    const unmapped = await dfops(cluster, ['call', 'reboot', '--on', 'all', '--wait', '--json']);
    t.not(unmapped.exitCode, 0);
    for (const result of linesOf(unmapped).filter(({ type }) => type === 'result')) {
      t.like(result, { outcome: 'refused', code: 'ERR_FORBIDDEN' });
    }

    const begun = await dfops(cluster, ['call', 'wait', '--on', 'all', '--', '600']);
    const id = begun.stdout.trim();
    const stopped = await dfops(cluster, ['calls', 'stop', id]);
    t.is(stopped.exitCode, 0, stopped.stderr);
    const ended = await dfops(cluster, ['calls', 'follow', id, '--json']);
    t.like(linesOf(ended).at(-2), { type: 'ended', counts: { ok: 0, failed: HOSTS - 1 } });
    t.like(linesOf(ended).at(-1), { type: 'failed', code: 'ERR_COMMAND_FAILED' });
    const listed = linesOf(await dfops(cluster, ['calls', 'list', '--json']));
    t.deepEqual(
      listed.map(({ command }) => command),
      ['wait', 'reboot', 'false', 'print', 'uptime'],
    );

    await withoutRights(t, cluster, files);
    await auditIsWhole(t, cluster, files);

    const anonymous = await fetch(`${cluster.apiUrl}/api/v1/calls`, { method: 'POST', body: '{}' });
    t.is(anonymous.status, 401);
  });
});

/** A principal may nothing before a policy says so, and then no more than its caps. */
async function withoutRights(
  t: ExecutionContext,
  cluster: Cluster,
  files: Workplace,
): Promise<void> {
  const made = await dfops(cluster, ['keys', 'create', 'bot', '--hosts-cap', '2/1h']);
  t.is(made.exitCode, 0, made.stderr);
  const key = made.stdout.trim();
  const peers = await Promise.all(cluster.hosts.map(async (host) => (await host.status()).peer));
  const call = async (...at: readonly number[]): Promise<CommandResult> => {
    const on = at.map((number) => `host=${peers[number]}`).join(',');
    return dfops(cluster, ['call', 'uptime', '--on', on, '--wait'], key);
  };
  const denied = await call(0);
  t.not(denied.exitCode, 0);
  t.regex(denied.stderr, /ERR_DENIED/);
  const policy = join(files.folder, 'policy.json');
  const rule = { principals: ['bot'], effect: 'allow', verbs: ['call.run'], commands: ['uptime'] };
  await writeFile(policy, JSON.stringify(rule));
  const put = await dfops(cluster, ['policies', 'put', 'bot-uptime', '--file', policy]);
  t.is(put.exitCode, 0, put.stderr);
  const widening = await dfops(cluster, ['policies', 'put', 'mine', '--file', policy], key);
  t.regex(widening.stderr, /ERR_DENIED/);
  const other = await dfops(cluster, ['call', 'print', '--on', 'all', '--wait'], key);
  t.regex(other.stderr, /ERR_DENIED/);
  const all = await call(0, 1, 2);
  t.regex(all.stderr, /ERR_CAP/);
  // In parts, and at once.
  const parts = await Promise.all([call(0), call(1), call(2)]);
  t.is(parts.filter(({ exitCode }) => exitCode === 0).length, 2);
  t.is(parts.filter(({ stderr }) => stderr.includes('ERR_CAP')).length, 1);
}

/** What all of that left behind is a chain that anybody can follow who knows the cell. */
async function auditIsWhole(
  t: ExecutionContext,
  cluster: Cluster,
  files: Workplace,
): Promise<void> {
  const exported = await dfops(cluster, ['audit', 'export']);
  t.is(exported.exitCode, 0, exported.stderr);
  t.regex(exported.stdout, /"decision":"denied"/);
  t.notRegex(exported.stdout, /odo_[0-9a-f]+_/, 'no key is in it');
  const { cell } = JSON.parse(exported.stdout.split('\n')[0] ?? '') as { cell: string };
  const verify = async (text: string): Promise<CommandResult> => {
    const file = join(files.folder, 'audit.ndjson');
    await writeFile(file, text);
    return dfops(cluster, ['audit', 'verify', file, '--cell', cell]);
  };
  const whole = await verify(exported.stdout);
  t.is(whole.exitCode, 0, whole.stdout + whole.stderr);
  const changed = await verify(exported.stdout.replace('"principal":"bot"', '"principal":"pot"'));
  t.not(changed.exitCode, 0);
}
