import { fileURLToPath } from 'node:url';
import { CodedError } from '../../base/error.ts';
import { FileFolder } from '../folder/file-folder.ts';
import type { FolderEntry, FolderFile, FolderLimits } from '../folder/folder-entry.ts';
import { walkFolders } from '../folder/walk-folders.ts';
import type { KindCall, LocalFile, OriginKind } from '../origin-kind.ts';

/** `file`: opened by this program, as its user, and by nobody it talks to. */
export class FileKind implements OriginKind {
  async locate(url: string): Promise<LocalFile> {
    return { path: pathOf(url) };
  }

  list(
    url: string,
    options: KindCall & { readonly limits: FolderLimits },
  ): AsyncIterable<FolderEntry> {
    return walkFolders(new FileFolder(), pathOf(url), options);
  }

  async locateFile({ location }: FolderFile): Promise<LocalFile> {
    return { path: location };
  }
}

function pathOf(text: string): string {
  const url = URL.parse(text);
  if (url === null || url.search !== '' || url.hash !== '') {
    throw new CodedError('ERR_URL', 'file: with ? or # in a name, write %3F or %23');
  }
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new CodedError('ERR_URL', 'expected file:///PATH on this machine', { cause });
  }
}
