import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { runCommand } from '../../bench/cluster/command.ts';
import type { CommandResult } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { withCluster } from '../support/with-cluster.ts';

const KEY = 'a-key-of-the-test-and-of-nobody-else';
const HOSTS = 4;

async function dfops(cluster: Cluster, words: readonly string[]): Promise<CommandResult> {
  const argv = [process.execPath, join(checkout, 'ops', 'cli', 'main.ts'), ...words];
  const { guard, env } = cluster.workplace;
  const all = { ...env, ODONATA_API: cluster.apiUrl, ODONATA_API_KEY: KEY };
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

    const anonymous = await fetch(`${cluster.apiUrl}/api/v1/calls`, { method: 'POST', body: '{}' });
    t.is(anonymous.status, 401);
  });
});
