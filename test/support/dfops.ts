/** `dfops` as a program of its own, asked of the supernode of a cluster with the operator's key. */
import { join } from 'node:path';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { runCommand } from '../../bench/cluster/command.ts';
import type { CommandResult } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';

/** What the file of `--api-key-file` of the cluster is to hold. */
export const operatorKey = 'a-key-of-the-test-and-of-nobody-else';

export async function runDfops(cluster: Cluster, words: readonly string[]): Promise<CommandResult> {
  const argv = [process.execPath, join(checkout, 'ops', 'cli', 'main.ts'), ...words];
  const { guard, env } = cluster.workplace;
  const asked = { ...env, ODONATA_API: cluster.apiUrl, ODONATA_API_KEY: operatorKey };
  return runCommand(argv, { guard, env: asked });
}

/** The JSON objects that it prints; fails with what it complains of. */
export async function dfopsLines(cluster: Cluster, words: readonly string[]): Promise<unknown[]> {
  const { exitCode, stdout, stderr } = await runDfops(cluster, [...words, '--json']);
  if (exitCode !== 0) throw new Error(`dfops ${words.join(' ')}: ${stderr}${stdout}`);
  const lines = stdout.split('\n').filter((line) => line !== '');
  return lines.map((line): unknown => JSON.parse(line));
}
