/**
 * Sets up a client, and undoes it. The record is on disk before the first file changes and goes after the last one is
 * back, so that whatever is interrupted can be undone; and what an earlier run set up is undone, in full, before
 * something else is set up. Everything is decided before anything is written.
 */
import { CodedError } from '../../core/base/error.ts';
import { clientNames } from './client-setup.ts';
import type { ClientName, FileView, SetupWishes } from './client-setup.ts';
import { clients } from './clients.ts';
import { isEmptyConfig, withoutEdits } from './file-edit.ts';
import type { FileEdit } from './file-edit.ts';
import { lineDiff } from './line-diff.ts';
import type { MachineFiles } from './machine-files.ts';
import { sha256 } from './setup-records.ts';
import type { FileRecord, SetupRecord, SetupRecords } from './setup-records.ts';

/** Where it happens. */
export interface SetupPlace {
  readonly files: MachineFiles;
  readonly records: SetupRecords;
  /** True: nothing is written. */
  readonly isDryRun: boolean;
}

/** What became, or would become, of one file. */
export interface FileReport {
  readonly path: string;
  readonly change: 'created' | 'changed' | 'removed' | 'unchanged';
  readonly diff: string;
}

/** What was done. */
export interface SetupReport {
  readonly client: ClientName;
  readonly files: readonly FileReport[];
  readonly commands: readonly string[];
  readonly notes: readonly string[];
}

/** A client that is set up, and whether its files still say so. */
export interface SetupState {
  readonly client: ClientName;
  readonly address: string;
  readonly registries: readonly string[];
  readonly files: readonly {
    readonly path: string;
    readonly state: 'as set up' | 'changed since' | 'gone';
  }[];
}

/** One file: as it is, as it is without us, and as it will be. */
interface FileStep {
  readonly path: string;
  readonly now: string | undefined;
  readonly base: string | undefined;
  readonly after: string | undefined;
  /** Of a file that is made. */
  readonly mode: number;
  readonly edits: readonly FileEdit[];
}

/** A file that an earlier run changed; it goes back to `base`. */
interface FormerStep extends FileStep {
  readonly folders: readonly string[];
  /** What others changed since goes too. */
  readonly isForced: boolean;
}

/** Makes the client use dfdaemon; throws ERR_CLIENT_CONFIG, ERR_OUTPUT_UNWRITABLE naming the file. */
export async function setUp(
  client: ClientName,
  place: SetupPlace,
  wishes: SetupWishes,
): Promise<SetupReport> {
  const { files, records } = place;
  const { traces } = clients[client];
  const old = await records.read(client);
  const former = await formerSteps(old, files, { client, isForced: false });
  const view = viewWithoutUs(files, former);
  const {
    files: changes,
    commands,
    undoCommands = commands,
    notes,
  } = await clients[client].plan(view, wishes);
  const steps: FileStep[] = [];
  for (const { path, mode = 0o644, edit } of changes) {
    const base = await view.read(path);
    const { text: after, edits } = edit(base);
    steps.push({ path, now: await files.read(path), base, after, mode, edits });
  }
  const planned = new Set(steps.map(({ path }) => path));
  const reports = [...steps, ...former.filter(({ path }) => !planned.has(path))].map(reportOf);
  const isFound = (await Promise.all(traces.map(async (path) => files.exists(path)))).includes(
    true,
  );
  const isDone = reports.every(({ change }) => change === 'unchanged');
  if (!isDone && !place.isDryRun) {
    if (old !== undefined) await takeBack(client, former, place);
    await carryOut(client, steps, { place, wishes, undoCommands });
  }
  const missing = `${client} was not found below ${files.root}; the files are there for when it is`;
  return {
    client,
    files: reports,
    commands: isDone ? [] : commands,
    notes: isFound ? notes : [missing, ...notes],
  };
}

/** Gives back what was there before; throws ERR_CLIENT_CONFIG when our part of a file was changed since. */
export async function undoSetup(
  client: ClientName,
  place: SetupPlace,
  { isForced }: { readonly isForced: boolean },
): Promise<SetupReport> {
  const { files, records, isDryRun } = place;
  const record = await records.read(client);
  if (record === undefined) {
    return { client, files: [], commands: [], notes: [`${client} was not set up`] };
  }
  const steps = await formerSteps(record, files, { client, isForced });
  const notes: string[] = [];
  if (!isDryRun) {
    for (const { path, now, isForced: isLost } of steps) {
      if (!isLost || now === undefined) continue;
      notes.push(`${path} as it was until now is kept in ${await records.keep(client, now)}`);
    }
    await takeBack(client, steps, place);
  }
  return { client, files: steps.map(reportOf), commands: record.undoCommands, notes };
}

/** All clients that are set up. */
export async function listSetups({ files, records }: SetupPlace): Promise<readonly SetupState[]> {
  const states: SetupState[] = [];
  for (const client of clientNames) {
    const record = await records.read(client);
    if (record === undefined) continue;
    const { address, registries } = record;
    const parts: SetupState['files'][number][] = [];
    for (const { path, afterSha256 } of record.files) {
      const now = await files.read(path);
      const isSame = now !== undefined && sha256(now) === afterSha256;
      parts.push({
        path,
        state: isSame ? 'as set up' : now === undefined ? 'gone' : 'changed since',
      });
    }
    states.push({ client, address, registries, files: parts });
  }
  return states;
}

/** What takes an earlier run back; throws ERR_CLIENT_CONFIG where that cannot be told from what others did since. */
async function formerSteps(
  record: SetupRecord | undefined,
  files: MachineFiles,
  { client, isForced }: { readonly client: ClientName; readonly isForced: boolean },
): Promise<readonly FormerStep[]> {
  const steps: FormerStep[] = [];
  for (const one of record?.files ?? []) {
    const { path, folders } = one;
    const now = await files.read(path);
    const base = now === undefined ? undefined : withoutUs(now, one);
    const isUnclear = now !== undefined && base === 'unclear';
    if (isUnclear && !isForced) throw changedSince(client, one);
    const former = base === 'unclear' ? { text: one.before ?? undefined } : base;
    const [after, mode] = [former?.text, 0o644];
    steps.push({ path, now, base: after, after, mode, edits: [], folders, isForced: isUnclear });
  }
  return steps;
}

/** The text without our part: no text where it was nothing else. */
function withoutUs(now: string, record: FileRecord): { text: string | undefined } | 'unclear' {
  const { before, afterSha256, edits } = record;
  if (now === before || sha256(now) === afterSha256) return { text: before ?? undefined };
  const rest = withoutEdits(now, edits);
  if (rest === undefined) return 'unclear';
  return { text: before === null && isEmptyConfig(rest) ? undefined : rest };
}

function changedSince(client: ClientName, { path, edits }: FileRecord): CodedError {
  const ours = edits
    .map((edit) =>
      edit.kind === 'lines' ? edit.inserted.trim() : `"${edit.key}": ["${edit.item}"]`,
    )
    .join('\n');
  const message = `${path}: was changed where it is set up for dfdaemon; take this out by hand and run the command again, or give back the former file with "dfdaemon setup ${client} --undo --force":\n${ours.replaceAll(/^/gm, '    ')}`;
  return new CodedError('ERR_CLIENT_CONFIG', message, { detail: { path } });
}

function viewWithoutUs(files: MachineFiles, former: readonly FileStep[]): FileView {
  const bases = new Map(former.map(({ path, base }) => [path, base]));
  return {
    read: async (path) => (bases.has(path) ? bases.get(path) : files.read(path)),
    list: async (folder) => files.list(folder),
    exists: async (path) => files.exists(path),
  };
}

async function takeBack(
  client: ClientName,
  steps: readonly FormerStep[],
  { files, records }: SetupPlace,
): Promise<void> {
  for (const { path, now, base, mode, folders } of steps) {
    if (now !== base)
      await (base === undefined ? files.remove(path) : files.write(path, base, { mode }));
    await files.removeEmpty(folders);
  }
  await records.remove(client);
}

async function carryOut(
  client: ClientName,
  steps: readonly FileStep[],
  job: {
    readonly place: SetupPlace;
    readonly wishes: SetupWishes;
    readonly undoCommands: readonly string[];
  },
): Promise<void> {
  const { files, records } = job.place;
  const changed = steps.filter(({ edits }) => edits.length > 0);
  const entries: FileRecord[] = [];
  for (const { path, base, after = '', edits } of changed) {
    const folders = [...(await files.missingFolders(path))];
    entries.push({
      path,
      before: base ?? null,
      afterSha256: sha256(after),
      edits: [...edits],
      folders,
    });
  }
  await records.write(client, {
    v: 1,
    address: job.wishes.address,
    registries: job.wishes.registries.map(({ name }) => name),
    undoCommands: [...job.undoCommands],
    files: entries,
  });
  for (const { path, after = '', mode } of changed) await files.write(path, after, { mode });
}

function reportOf({ path, now, after }: FileStep): FileReport {
  const change =
    now === after
      ? 'unchanged'
      : now === undefined
        ? 'created'
        : after === undefined
          ? 'removed'
          : 'changed';
  return { path, change, diff: lineDiff(path, now, after) };
}
