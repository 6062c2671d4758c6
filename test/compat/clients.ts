import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { runCommand } from '../../bench/cluster/command.ts';
import type { CommandResult } from '../../bench/cluster/command.ts';
import type { Workplace } from '../../bench/cluster/workplace.ts';
import type { EngineProcess } from './engines.ts';
import { emptyRun, inPrivate } from './private-root.ts';

export { faultsOfFolder } from '../../bench/registry/image-folder.ts';

/** How a registry is reached instead of itself, and by whom. */
export interface PullOptions {
  readonly workplace: Workplace;
  /** A folder of this pull alone. */
  readonly folder: string;
  /** `USER:PASSWORD`. */
  readonly credentials?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Pulls that take longer than this hang. */
const PULL_MS = 150_000;
const clock = new SystemClock();

/** Runs a client to its end; one that hangs is killed and fails. */
export async function runClient(
  argv: readonly string[],
  options: Pick<PullOptions, 'workplace' | 'signal'> & { env?: NodeJS.ProcessEnv; cwd?: string },
): Promise<CommandResult> {
  const { workplace, env = {}, cwd } = options;
  using deadline = clock.deadline(PULL_MS);
  const signal = AbortSignal.any([deadline.signal, ...(options.signal ? [options.signal] : [])]);
  return runCommand(argv, {
    guard: workplace.guard,
    env: { ...workplace.env, ...env },
    signal,
    ...(cwd === undefined ? {} : { cwd }),
  });
}

/** Throws with all that the client said unless it succeeded. */
export function succeeded(result: CommandResult): CommandResult {
  if (result.exitCode === 0) return result;
  throw new Error(`exit ${result.exitCode ?? result.signal}\n${result.stdout}${result.stderr}`);
}

/** `skopeo copy` of `reference` to a plain folder, `folder/image`. */
export async function skopeo(reference: string, options: PullOptions): Promise<CommandResult> {
  const { folder, credentials } = options;
  const argv = ['skopeo', '--insecure-policy', 'copy', '--src-tls-verify=false'];
  if (credentials !== undefined) argv.push('--src-creds', credentials);
  argv.push(`docker://${reference}`, `dir:${join(folder, 'image')}`);
  return runClient(inPrivate(emptyRun, argv), { ...options, env: { TMPDIR: folder } });
}

/** `podman pull` of `REGISTRY/REPOSITORY:TAG` with a mirror; answers with the digest of what it has then. */
export async function podman(
  reference: string,
  options: PullOptions & { readonly mirror: string },
): Promise<CommandResult & { readonly digest: string }> {
  const { folder, mirror } = options;
  const [registry = ''] = reference.split('/');
  const conf = join(folder, 'registries.conf');
  const mirrorLines = `[[registry.mirror]]\nlocation = "${mirror}/${registry}"\ninsecure = true\n`;
  const lines = `[[registry]]\nprefix = "${registry}"\nlocation = "${registry}"\ninsecure = true\n`;
  await writeFile(conf, lines + mirrorLines);
  const words = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run')];
  const base = ['podman', ...words, '--storage-driver', 'overlay', '--events-backend=none'];
  const script = 'first=$1; shift; "$@" pull -q "$first" && "$@" images --digests --no-trunc ';
  const format = "--format 'digest={{.Digest}}'";
  const argv = ['sh', '-c', `${script}${format}`, 'podman', reference, ...base];
  const result = await runClient(inPrivate(emptyRun, argv), {
    ...options,
    env: { CONTAINERS_REGISTRIES_CONF: conf, TMPDIR: folder },
  });
  return { ...result, digest: /digest=(\S+)/.exec(result.stdout)?.[1] ?? '' };
}

/** `ctr images pull` with a mirror for the registry of `reference`; answers with the digest that it has then. */
export async function ctr(
  engine: EngineProcess,
  reference: string,
  options: PullOptions & { readonly mirror: string },
): Promise<CommandResult & { readonly digest: string }> {
  const { mirror, credentials } = options;
  const [registry = ''] = reference.split('/');
  const hosts = join(engine.folder, 'hosts.d');
  await mkdir(join(hosts, registry), { recursive: true });
  const server = `server = "http://${registry}"\n`;
  const host = `[host."http://${mirror}"]\n  capabilities = ["pull", "resolve"]\n`;
  await writeFile(join(hosts, registry, 'hosts.toml'), server + host);
  const argv = ['ctr', '-a', engine.socket, 'images', 'pull', '--hosts-dir', hosts];
  if (credentials !== undefined) argv.push('--user', credentials);
  const result = await runClient([...argv, reference], options);
  const listed = await runClient(['ctr', '-a', engine.socket, 'images', 'ls'], options);
  const line = listed.stdout.split('\n').find((text) => text.startsWith(`${reference} `));
  return { ...result, digest: /sha256:[0-9a-f]{64}/.exec(line ?? '')?.[0] ?? '' };
}

/** `docker pull`; answers with the digest that it says it pulled, and the ids of the layers that it unpacked. */
export async function docker(
  engine: EngineProcess,
  reference: string,
  options: PullOptions,
): Promise<CommandResult & { readonly digest: string; readonly layers: readonly string[] }> {
  const client = ['docker', '-H', `unix://${engine.socket}`];
  const result = await runClient([...client, 'pull', reference], options);
  const inspect = [...client, 'image', 'inspect', '-f', '{{json .RootFS.Layers}}', reference];
  const { stdout } = await runClient(inspect, options);
  const layers = stdout.startsWith('[') ? (JSON.parse(stdout) as string[]) : [];
  const digest = /Digest: (sha256:[0-9a-f]{64})/.exec(result.stdout)?.[1] ?? '';
  return { ...result, digest, layers };
}

/** A folder for one pull. */
export async function pullFolder(workplace: Workplace, name: string): Promise<string> {
  const folder = await workplace.subfolder(`pull-${name}`);
  const left = await readdir(folder);
  if (left.length > 0) throw new TypeError(`${name} was pulled before`);
  return folder;
}
