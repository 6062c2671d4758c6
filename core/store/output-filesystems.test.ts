// Outputs on real filesystems, each in a file of its own: what can share blocks does, what cannot links or copies.
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { contentOf, removeFolder, temporaryFolder } from './fixtures/content.ts';
import { exportFile } from './output.ts';
import type { ExportMethod } from './output.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
/** mkfs.xfs wants so much; the file has holes. */
const IMAGE_BYTES = 320 * MIB;
const CONTENT = contentOf('filesystems', 2 * MIB + 1);
const signal = new AbortController().signal;

interface Kind {
  readonly make: readonly string[];
  /** Within it, with hard links allowed and without. */
  readonly linked: ExportMethod;
  readonly alone: ExportMethod;
}

const KINDS: Readonly<Record<string, Kind>> = {
  ext4: { make: ['mkfs.ext4', '-q', '-F'], linked: 'hardlink', alone: 'copy' },
  xfs: { make: ['mkfs.xfs', '-q', '-m', 'reflink=1'], linked: 'reflink', alone: 'reflink' },
  btrfs: { make: ['mkfs.btrfs', '-q'], linked: 'reflink', alone: 'reflink' },
};

/** Why there can be no filesystem of that kind here; found out by making one. */
function whyNone({ make: [program = '', ...flags] }: Kind): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'odonata-mount-'));
  const [image, path] = [join(folder, 'image'), join(folder, 'mounted')];
  const options = { stdio: 'ignore' } as const;
  let step = program;
  try {
    execFileSync('truncate', ['-s', String(IMAGE_BYTES), image], options);
    execFileSync(program, [...flags, image], options);
    step = 'mount';
    mkdirSync(path);
    execFileSync('mount', ['-o', 'loop', image, path], options);
    execFileSync('umount', ['--lazy', path], options);
    return undefined;
  } catch {
    return `no ${step} here`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A new filesystem of that kind, mounted for as long as the test runs. */
async function mounted(
  t: ExecutionContext,
  at: { readonly folder: string; readonly name: string; readonly make: readonly string[] },
): Promise<string> {
  const image = join(at.folder, `${at.name}.image`);
  const path = join(at.folder, at.name);
  await using file = await open(image, 'w');
  await file.truncate(IMAGE_BYTES);
  await mkdir(path);
  const [program = '', ...flags] = at.make;
  await run(program, [...flags, image]);
  await run('mount', ['-o', 'loop', image, path]);
  t.teardown(() => execFileSync('umount', ['--lazy', path]));
  return path;
}

async function outputsOf(folder: string): Promise<string> {
  const out = join(folder, 'out');
  await mkdir(out, { recursive: true });
  return out;
}

for (const [name, kind] of Object.entries(KINDS)) {
  const reason = whyNone(kind);
  const testOrSkip = reason === undefined ? test : test.skip;
  const why = reason === undefined ? '' : ` (${reason})`;

  testOrSkip(
    `exportFile() within ${name}, and across from it to another filesystem and back${why}`,
    async (t) => {
      const folder = await temporaryFolder();
      t.teardown(() => removeFolder(folder));
      const here = await mounted(t, { folder, name, make: kind.make });
      const source = join(here, 'source');
      await writeFile(source, CONTENT);
      const there = await outputsOf(folder);
      const cases: { target: string; allowHardLink: boolean; method: ExportMethod }[] = [
        { target: join(await outputsOf(here), 'linked'), allowHardLink: true, method: kind.linked },
        { target: join(await outputsOf(here), 'alone'), allowHardLink: false, method: kind.alone },
        { target: join(there, 'across'), allowHardLink: true, method: 'copy' },
      ];
      for (const { target, allowHardLink, method } of cases) {
        const options = { overwrite: false, allowHardLink, signal };
        t.is(await exportFile(source, target, options), method, target);
        t.true(CONTENT.equals(await readFile(target)));
        t.is((await stat(target)).ino === (await stat(source)).ino, method === 'hardlink');
      }
      const back = { overwrite: true, allowHardLink: true, signal };
      t.is(await exportFile(join(there, 'across'), join(here, 'out', 'alone'), back), 'copy');
      t.deepEqual((await readdir(join(here, 'out'))).toSorted(), ['alone', 'linked']);
      // What shares blocks is a file of its own all the same.
      if (kind.alone !== 'reflink') return;
      await writeFile(join(here, 'out', 'linked'), 'edited');
      t.true(CONTENT.equals(await readFile(source)));
    },
  );

  testOrSkip(
    `exportFile() to a full ${name} says so and leaves nothing behind${why}`,
    async (t) => {
      const folder = await temporaryFolder();
      t.teardown(() => removeFolder(folder));
      const here = await mounted(t, { folder, name, make: kind.make });
      const source = join(folder, 'source');
      await writeFile(source, CONTENT);
      for (let round = 0; round < 8; round += 1) {
        const { stdout } = await run('stat', ['-f', '-c', '%a %S', here]);
        const [blocks = 0, size = 0] = stdout.split(' ').map(Number);
        const left = Math.max(0, blocks * size - MIB);
        if (left === 0) break;
        await run('fallocate', ['-l', String(left), join(here, `filling-${round}`)]).catch(
          () => undefined,
        );
      }
      const out = await outputsOf(here);
      const options = { overwrite: false, allowHardLink: true, signal };
      await t.throwsAsync(exportFile(source, join(out, 'target'), options), {
        code: 'ERR_NO_SPACE',
      });
      t.deepEqual(await readdir(out), []);
    },
  );
}
