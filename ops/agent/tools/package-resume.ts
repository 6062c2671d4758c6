import { readManifest } from './package-manifest.ts';
import type { PackageFolder } from './package-folder.ts';
import type { PackageTools } from './package-program.ts';
import { isAlive, startService, stopService } from './service.ts';

/**
 * Starts again what ran of a package and does not any more, as after a restart of the machine; the directory of that
 * version, or undefined when there was nothing to start. A switch that has begun and not ended is left to whoever asks
 * for the next one.
 */
export async function resumePackage(
  folder: PackageFolder,
  tools: PackageTools,
): Promise<string | undefined> {
  const service = await folder.service();
  if (service === undefined || isAlive(service)) return undefined;
  if ((await folder.begunSwitch()) !== undefined) return undefined;
  const { directory } = service;
  const manifest = await readManifest(folder.pathOf(directory));
  // What it has left behind ends first, and its row goes.
  await stopService(folder, tools);
  try {
    await startService(folder, directory, { manifest, tools });
  } catch (error) {
    // The next start of the dfdaemon is to try it again.
    await folder.setService({ directory, mark: service.mark });
    throw error;
  }
  return directory;
}
