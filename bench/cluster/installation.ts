import { mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import { outputOf } from './command.ts';
import type { ProcessGuard } from './process-guard.ts';

/** The programs that processes are made of. */
export type ProgramName = 'supernode' | 'dfdaemon' | 'dfget';

/** `source`: the TypeScript of this checkout. `package`: built, packed and unpacked, as users get it. */
export type ProgramForm = 'source' | 'package';

/** The checkout that this file belongs to. */
export const checkout = join(import.meta.dirname, '..', '..');

/** The words a program's command line begins with. */
export type Installation = (program: ProgramName) => readonly string[];

/** Makes the programs ready to run; `package` works in `folder` and takes a few seconds. */
export async function install(
  form: ProgramForm,
  options: {
    readonly folder: string;
    readonly guard: ProcessGuard;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<Installation> {
  if (form === 'source') {
    return (program) => [process.execPath, join(checkout, program, 'main.ts')];
  }
  const unpacked = await unpackTarball(options);
  return (program) => [process.execPath, join(unpacked, 'bin', `${program}.cjs`)];
}

async function unpackTarball(options: Parameters<typeof install>[1]): Promise<string> {
  const { folder, ...running } = options;
  const unpacked = join(folder, 'node_modules', 'odonata');
  await mkdir(unpacked, { recursive: true });
  // Packing builds first.
  await outputOf(['npm', 'pack', '--pack-destination', folder], { ...running, cwd: checkout });
  const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new CodedError('ERR_INTERNAL', 'npm pack made no tarball');
  const target = ['-C', unpacked, '--strip-components=1'];
  await outputOf(['tar', '-xzf', join(folder, tarball), ...target], running);
  // What npm would fetch again is here already.
  await symlink(join(checkout, 'node_modules'), join(unpacked, 'node_modules'));
  return unpacked;
}
