import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { outputOf } from '../../bench/cluster/command.ts';
import type { Workplace } from '../../bench/cluster/workplace.ts';
import { seededBytes } from '../../bench/origin/content.ts';

/** A repository as plain files, which git clones from any web server. */
export interface GitRepository {
  /** By path, `/repo.git/...`. */
  readonly files: Readonly<Record<string, Buffer>>;
  readonly head: string;
}

/** Makes a repository with some commits. */
export async function makeGitRepository(workplace: Workplace): Promise<GitRepository> {
  const folder = await workplace.subfolder('git');
  const work = join(folder, 'work');
  const bare = join(folder, 'repo.git');
  const { guard, env } = workplace;
  const git = async (...words: string[]): Promise<string> =>
    outputOf(['git', '-c', 'user.name=compat', '-c', 'user.email=compat@localhost', ...words], {
      guard,
      env,
    });
  await git('init', '-q', '-b', 'main', work);
  for (const commit of [1, 2, 3]) {
    await writeFile(join(work, `file-${commit}`), seededBytes(700 + commit, 0, 300_000));
    await git('-C', work, 'add', '.');
    await git('-C', work, 'commit', '-q', '-m', `commit ${commit}`);
  }
  await git('clone', '-q', '--bare', work, bare);
  await git('-C', bare, 'update-server-info');
  const files: Record<string, Buffer> = {};
  for (const entry of await readdir(bare, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files[`/repo.git${path.slice(bare.length)}`] = await readFile(path);
  }
  return { files, head: await git('-C', work, 'rev-parse', 'HEAD') };
}
