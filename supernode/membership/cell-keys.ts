import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { peerIdPattern } from '../../core/identity/peer-id.ts';
import type { StateStore } from '../../core/store/state-store.ts';

const CELL_ROW = 'cell';

/** Where the key of the cell lies while it is not kept offline. */
export function cellKeyFile(dataDir: string): string {
  return join(dataDir, 'identity', 'cell.key');
}

/**
 * The id of the cell of this data folder. The first call makes the cell: its key, and a row that names it, so that
 * the key may be taken away later and no second cell is ever made by accident.
 */
export async function openCell(
  dataDir: string,
  state: StateStore,
): Promise<{ readonly cell: string; readonly isNew: boolean }> {
  const known = (await state.get(CELL_ROW))?.value;
  if (typeof known === 'string' && peerIdPattern.test(known)) return { cell: known, isNew: false };
  const isNew = !(await exists(cellKeyFile(dataDir)));
  const { peerId } = await HostKey.load(cellKeyFile(dataDir));
  await state.commit([{ type: 'put', key: CELL_ROW, value: peerId }]);
  return { cell: peerId, isNew };
}

/**
 * The key of the cell, or undefined while it is kept elsewhere; ERR_KEY_FILE when the file holds another key. It is
 * read when it is needed and not kept in memory.
 */
export async function readCellKey(dataDir: string, cell: string): Promise<HostKey | undefined> {
  const file = cellKeyFile(dataDir);
  if (!(await exists(file))) return undefined;
  const key = await HostKey.load(file);
  if (key.peerId === cell) return key;
  throw new CodedError('ERR_KEY_FILE', `${file} is the key of another cell`, {
    detail: { file, cell, found: key.peerId },
  });
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw new CodedError('ERR_KEY_FILE', `cannot look at ${file}`, {
      cause: error,
      detail: { file },
    });
  }
}
