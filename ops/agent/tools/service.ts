import { open, rename } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import { CodedError, systemCode } from '../../../core/base/error.ts';
import { randomHex } from '../../../core/base/random.ts';
import { inheritedFiles } from '../inherited-files.ts';
import { checkProgram, environmentOf } from '../launcher.ts';
import { ProcessTree, serviceVariable, startedProcess } from '../process-tree.ts';
import { startDetached, startError } from '../start-detached.ts';
import type { PackageFolder, ServiceRow } from './package-folder.ts';
import { readManifest } from './package-manifest.ts';
import type { PackageManifest } from './package-manifest.ts';
import { runProgram } from './package-program.ts';
import type { PackageTools } from './package-program.ts';

/** Of a service whose manifest cannot be read any more. */
const DEFAULT_STOP_TIMEOUT_MS = 10_000;
/** Between two looks whether it has ended. */
const LOOK_MS = 50;
/** Shown of the log of a service that failed. */
const TAIL_BYTES = 4_096;

/**
 * Starts what stays of a version, in a session of its own: it outlives the call, whose mark it does not carry. Its mark
 * is written down before it starts, its process after: whoever comes next finds it in either case.
 */
export async function startService(
  folder: PackageFolder,
  directory: string,
  { manifest, tools }: { readonly manifest: PackageManifest; readonly tools: PackageTools },
): Promise<void> {
  const { start: argv, env, name } = manifest;
  if (argv === undefined) return;
  await checkProgram(argv[0]);
  const mark = randomHex(16);
  await folder.setService({ directory, mark });
  const log = logOf(folder, name);
  await rotate(log);
  await using out = await open(log, 'a', 0o640);
  const environment = { ...environmentOf(tools.user), ...env, [serviceVariable]: mark };
  const cwd = folder.pathOf(directory);
  const child = startDetached(
    { argv, environment, cwd, covered: inheritedFiles() },
    { out: out.fd },
  );
  if (child.pid === undefined) {
    const [error] = await once(child, 'error').catch((reason: unknown) => [reason]);
    throw startError(argv[0], error);
  }
  child.unref();
  const started = startedProcess(child.pid)?.started;
  // Without a time it has ended already.
  if (started !== undefined) {
    await folder.setService({ directory, mark, process: { pid: child.pid, started } });
  }
}

/** True while the process that was started lives. */
export function isAlive({ process: was }: ServiceRow): boolean {
  if (was === undefined) return false;
  const now = startedProcess(was.pid);
  return now !== undefined && now.started === was.started && !'ZX'.includes(now.state);
}

/**
 * Ends what runs of the package, whatever version it is of: by its stop program, else by SIGTERM; what is left after its
 * time is killed. ERR_COMMAND_FAILED when something cannot be killed.
 */
export async function stopService(folder: PackageFolder, tools: PackageTools): Promise<void> {
  const service = await folder.service();
  if (service === undefined) return;
  const { clock, signal, say } = tools;
  const tree = new ProcessTree(service.mark, { root: service.process, variable: serviceVariable });
  const path = folder.pathOf(service.directory);
  const manifest = await readManifest(path).catch(() => undefined);
  const timeoutMs = manifest?.stopTimeoutMs ?? DEFAULT_STOP_TIMEOUT_MS;
  const end = clock.monotonic() + timeoutMs;
  if (manifest?.stop !== undefined && (await tree.members()).length > 0) {
    try {
      await runProgram(manifest.stop, { manifest, folder: path, timeoutMs }, tools);
      while (clock.monotonic() < end && (await tree.members()).length > 0) {
        await clock.sleep(LOOK_MS, { signal });
      }
    } catch (error) {
      signal.throwIfAborted();
      say(`stop: ${CodedError.from(error).message}`);
    }
  }
  const graceMs = manifest?.stop === undefined ? timeoutMs : Math.max(0, end - clock.monotonic());
  const left = await tree.kill({ clock, graceMs });
  if (left > 0) {
    throw new CodedError('ERR_COMMAND_FAILED', `${left} of its processes cannot be killed`);
  }
  await folder.setService(undefined);
}

/** The end of what the service wrote. */
export async function tailOfLog(folder: PackageFolder, name: string): Promise<string> {
  try {
    await using log = await open(logOf(folder, name));
    const { size } = await log.stat();
    const length = Math.min(size, TAIL_BYTES);
    const { buffer } = await log.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString();
  } catch {
    // No log, nothing to show.
    return '';
  }
}

function logOf(folder: PackageFolder, name: string): string {
  return join(folder.path, 'log', `${name}.log`);
}

/** What the last start wrote is kept, what the one before it wrote is not. */
async function rotate(log: string): Promise<void> {
  try {
    await rename(log, `${log}.1`);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
