/** The last checkpoint beside the store: who cuts the store alone is noticed. */
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { maxCheckpointBytes } from './audit-checkpoint.ts';

/** The envelope in the file; undefined: there is no file. ERR_STORE_IO when it cannot be read or is too long. */
export async function readAuditHead(file: string): Promise<string | undefined> {
  try {
    await using handle = await open(file, 'r');
    const room = Buffer.alloc(maxCheckpointBytes + 2);
    const { bytesRead } = await handle.read(room, 0, room.length, 0);
    return room.toString('utf8', 0, bytesRead).trimEnd();
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return undefined;
    throw new CodedError('ERR_STORE_IO', `cannot read ${file}`, { cause });
  }
}

/** Puts an envelope in the place of the one before, mode 0600; on the disk when it resolves. ERR_STORE_IO. */
export async function writeAuditHead(file: string, envelope: string): Promise<void> {
  const draft = `${file}.new`;
  try {
    {
      await using handle = await open(draft, 'w', 0o600);
      await handle.writeFile(`${envelope}\n`);
      await handle.sync();
    }
    await rename(draft, file);
    await using folder = await open(dirname(file), 'r');
    await folder.sync();
  } catch (cause) {
    throw new CodedError('ERR_STORE_IO', `cannot write ${file}`, { cause });
  }
}
