import { CodedError, systemCode } from '../../core/base/error.ts';
import { manifestName, parseManifest } from '../agent/tools/package-manifest.ts';

/** What a package says that it is. */
export interface PackageTitle {
  readonly name: string;
  readonly version: string;
}

const MAX_MANIFEST_BYTES = 64 * 1024;

/**
 * Reads the manifest of a tar, plain or packed with gzip or zstd, and sees to it that the rest can be read. ERR_USAGE
 * when it is no such file, ERR_CONFIG naming what hosts would refuse of the manifest.
 */
export async function readPackageFile(file: string): Promise<PackageTitle> {
  const found = await manifestsIn(file);
  const [text] = found;
  if (text === undefined || found.length > 1) {
    const many = found.length === 0 ? 'no' : 'more than one';
    throw new CodedError('ERR_USAGE', `${file} has ${many} ${manifestName} at its root`);
  }
  const { name, version } = await parseManifest(text, '/');
  return { name, version };
}

async function manifestsIn(file: string): Promise<string[]> {
  // Imported here: other commands need no archives.
  const { list } = await import('tar');
  const found: Promise<Buffer>[] = [];
  let isTooLong = false;
  const onReadEntry: NonNullable<Parameters<typeof list>[0]>['onReadEntry'] = (entry) => {
    if (entry.path.replace(/^(?:\.\/)+/, '') !== manifestName || entry.type !== 'File') return;
    // Nothing that is thrown here would be caught.
    if (entry.size > MAX_MANIFEST_BYTES) isTooLong = true;
    else found.push(entry.concat());
  };
  try {
    await list({ file, strict: true, onReadEntry });
    if (isTooLong) {
      const message = `${file}: ${manifestName} is longer than ${MAX_MANIFEST_BYTES} bytes`;
      throw new CodedError('ERR_USAGE', message);
    }
    const texts = await Promise.all(found);
    return texts.map((text) => text.toString());
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const code = systemCode(cause);
    const what =
      code?.startsWith('E') === true ? 'cannot read it' : 'it is no tar that can be read';
    throw new CodedError('ERR_USAGE', `${file}: ${what} (${reason.slice(0, 200)})`, { cause });
  }
}
