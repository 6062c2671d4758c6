import { rm } from 'node:fs/promises';
import { CodedError } from '../../../core/base/error.ts';
import { defaultReserveBytes, diskSpace } from '../../../core/store/capacity.ts';
import { noSpace, onOutput } from '../../../core/store/output-error.ts';
import { directoryOf, versionOf } from './package-folder.ts';
import type { PackageFolder } from './package-folder.ts';
import { readManifest } from './package-manifest.ts';
import type { PackageManifest } from './package-manifest.ts';
import { runProgram } from './package-program.ts';
import type { PackageTools } from './package-program.ts';
import { syncTree } from './sync-tree.ts';
import type { InstallRequest } from './tool-requests.ts';
import { unpackTarball } from './unpack-tarball.ts';

/** The call ends it sooner. */
const INSTALL_TIMEOUT_MS = 24 * 3_600_000;

/** What `package.install` prints. */
export interface InstallResult {
  readonly name: string;
  readonly version: string;
  /** The version in use, which is what it was; after a switch that nobody ended, the one from before it. */
  readonly current: string | null;
}

/**
 * Unpacks a version beside the others and runs its install program, once; nothing of what runs is touched. A version
 * that is there already is left as it is. ERR_CONFIG when the archive or its `package.yaml` is wrong or of another
 * package, errors of the content, of the disk and of the program; then the version is not there.
 */
export async function installPackage(
  folder: PackageFolder,
  request: InstallRequest,
  options: PackageTools & { readonly content: AsyncIterable<Uint8Array>; readonly keep: number },
): Promise<InstallResult> {
  const { name, version, digest } = request;
  const { clock, keep } = options;
  const directory = directoryOf(version, digest);
  const [newest, ...others] = await folder.versions();
  const isNewest = newest?.directory === directory;
  if (!isNewest && !others.some((found) => found.directory === directory)) {
    try {
      await unpack(folder, request, options);
    } catch (error) {
      // A disk that is full has to have room again; what cannot be taken away now is later.
      await folder.sweep().catch(() => undefined);
      throw error;
    }
  }
  // Who asks for it again wants to keep it as much as a new one.
  if (!isNewest) await folder.add({ directory, version, digest, at: clock.now() });
  await folder.prune(keep);
  const current = await folder.standing();
  return { name, version, current: current === undefined ? null : versionOf(current) };
}

async function unpack(
  folder: PackageFolder,
  request: InstallRequest,
  options: PackageTools & { readonly content: AsyncIterable<Uint8Array> },
): Promise<void> {
  const { content, signal } = options;
  const roomBytes = await roomIn(folder.path);
  const fresh = await folder.fresh();
  await unpackTarball(content, fresh, { signal, roomBytes });
  refuseOther(await readManifest(fresh), request);
  // Where it will run from: programs write down where they are.
  const path = await folder.place(directoryOf(request.version, request.digest));
  await prepare(path, options);
  // What is a version stays one when the machine dies.
  await onOutput(path, async () => syncTree(path, signal));
}

/** What may be written without the reserve that is left for others, bytes; ERR_NO_SPACE when that is nothing. */
async function roomIn(path: string): Promise<number> {
  const { freeBytes, totalBytes } = await diskSpace(path);
  const roomBytes = freeBytes - defaultReserveBytes(totalBytes);
  if (roomBytes > 0) return roomBytes;
  throw noSpace(path, { freeBytes, reserveBytes: defaultReserveBytes(totalBytes) });
}

async function prepare(path: string, tools: PackageTools): Promise<void> {
  const manifest = await readManifest(path);
  if (manifest.install === undefined) return;
  try {
    const about = { manifest, folder: path, timeoutMs: INSTALL_TIMEOUT_MS };
    await runProgram(manifest.install, about, tools);
  } catch (error) {
    await rm(path, { recursive: true, force: true });
    throw error;
  }
}

function refuseOther(manifest: PackageManifest, asked: InstallRequest): void {
  for (const key of ['name', 'version'] as const) {
    if (manifest[key] === asked[key]) continue;
    throw new CodedError(
      'ERR_CONFIG',
      `package.yaml: /${key}: is ${manifest[key]}, and ${asked[key]} was asked for`,
      { detail: { path: `/${key}` } },
    );
  }
}
