import { Level } from 'level';
import { join } from 'node:path';
import { removeFolder, temporaryFolder } from '../../core/store/fixtures/content.ts';

/** A kind of storage that a piece store is tried on. */
export interface StorageKind {
  readonly name: string;
  /** The folder to make data folders in. */
  readonly parent: string | undefined;
}

/** Makes data folders on a kind of storage, each gone with its test, and titles that name the kind. */
export function dataFoldersOn(kind: StorageKind): {
  readonly title: (text: string) => string;
  readonly folder: (t: { teardown(fn: () => Promise<void>): void }) => Promise<string>;
} {
  return {
    title: (text) => `PieceStore on ${kind.name}: ${text}`,
    folder: async (t) => {
      const directory = await temporaryFolder(kind.parent);
      t.teardown(() => removeFolder(directory));
      return join(directory, 'data');
    },
  };
}

/** Changes the journal of a store that is closed. */
export async function editJournal(
  directory: string,
  edit: (journal: Level) => Promise<void>,
): Promise<void> {
  const journal = new Level(join(directory, 'journal'));
  await edit(journal);
  await journal.close();
}

/** All keys in the journal of a store that is closed. */
export async function journalKeys(directory: string): Promise<string[]> {
  let keys: string[] = [];
  await editJournal(directory, async (journal) => {
    keys = await journal.keys().all();
  });
  return keys;
}
