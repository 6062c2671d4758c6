/**
 * One run of `dfget --recursive`: list the folder, then fetch its files as single downloads, several at a time. A file
 * that fails stops no other.
 */
import type { Writable } from 'node:stream';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { FolderFile } from '../../core/origin/folder/folder-entry.ts';
import type { OriginKind } from '../../core/origin/origin-kind.ts';
import type { DownloadRequest } from '../../core/swarm/download-events.ts';
import { exitCodeOf } from '../exit-code.ts';
import type { OpenEngine } from '../in-process.ts';
import { requestFor } from '../locate.ts';
import { openOriginKind } from '../origin-kinds.ts';
import type { OriginWishes } from '../origin-kinds.ts';
import { OwnEngine } from '../own-engine.ts';
import type { DownloadPlan } from '../plan.ts';
import { fetchAndDeliver } from '../run.ts';
import { FolderRecord, listedVersion, stateOf } from './folder-record.ts';
import type { KeptFile } from './folder-record.ts';
import type { FileResult, FolderReporter } from './folder-reporter.ts';
import { FolderTally } from './folder-tally.ts';
import { gatherFiles } from './gather-files.ts';
import type { GatheredFiles } from './gather-files.ts';
import type { FolderPlan } from './plan-folder.ts';
import { TargetFolder, statsOf } from './target-folder.ts';

/** What a run is given. */
export interface FolderTools {
  readonly clock: Clock;
  /** Aborted by the user's signals. */
  readonly signal: AbortSignal;
  readonly reporter: FolderReporter;
  readonly openEngine: OpenEngine;
  readonly wishes: OriginWishes;
  readonly stdout: Writable;
  readonly uid: number;
  /** Monotonic time at which the user started to wait. */
  readonly startedMs: number;
}

/** All that the files of one run share. */
interface FolderRun {
  readonly plan: DownloadPlan;
  readonly tools: FolderTools;
  readonly signal: AbortSignal;
  readonly kind: OriginKind;
  readonly target: TargetFolder;
  readonly record: FolderRecord;
  readonly engine: OwnEngine;
  readonly tally: FolderTally;
  /** Of each file: wishes as those of a single download, with its part of the rate. */
  readonly request: Omit<DownloadRequest, 'url' | 'timeoutMs'>;
  readonly overwrite: boolean;
}

/** Carries out the plan and reports; resolves with the exit code, never rejects. */
export async function runFolder(
  plan: DownloadPlan,
  folder: FolderPlan,
  tools: FolderTools,
): Promise<number> {
  const { clock, reporter } = tools;
  const { timeoutMs, url } = plan.request;
  using deadline = timeoutMs === undefined ? undefined : clock.deadline(timeoutMs, tools);
  const signal = deadline?.signal ?? tools.signal;
  const output = plan.output.kind === 'file' ? plan.output.path : '';
  let tally = new FolderTally({ files: 0 }, tools);
  let failure: CodedError | undefined;
  try {
    for (const note of plan.notes) reporter.note(note);
    const note = (text: string): void => reporter.note(text);
    await using opened = await openOriginKind(plan.request, tools.wishes, { clock, note });
    const { kind } = opened;
    const gathered = await gatherFiles(kind, url, { plan: folder, signal });
    const { files, refused, leftOut, length } = gathered;
    const total = { files: files.length + refused.length, length };
    reporter.listed({ ...total, leftOut });
    tally = new FolderTally(total, tools);
    await using engine = new OwnEngine(plan.engine, tools);
    const shared = { plan, tools, signal, kind, engine, tally };
    await fetchAll(gathered, { ...shared, folder, output });
  } catch (error) {
    failure = CodedError.from(error);
  }
  if (signal.aborted) failure = CodedError.from(signal.reason);
  const seconds = (clock.monotonic() - tools.startedMs) / 1000;
  const summary = tally.summary({ seconds, output, error: failure });
  reporter.finished(summary);
  return summary.firstError === undefined ? 0 : exitCodeOf(summary.firstError);
}

async function fetchAll(
  { files, refused }: GatheredFiles,
  parts: Pick<FolderRun, 'plan' | 'tools' | 'signal' | 'kind' | 'engine' | 'tally'> & {
    readonly folder: FolderPlan;
    readonly output: string;
  },
): Promise<void> {
  const { plan, folder, tally, signal } = parts;
  for (const { path, problem } of refused) {
    const error = new CodedError('ERR_LISTING', `the listing names ${problem}`);
    tally.ended({ type: 'failed', file: path, error });
  }
  if (files.length === 0) return;
  const target = await TargetFolder.open(parts.output);
  await using record = await FolderRecord.open(target.root);
  const lanes = Math.min(folder.concurrency, files.length);
  const request = requestOfEach(plan.request, lanes);
  const overwrite = plan.output.kind === 'file' && plan.output.overwrite;
  const run = { ...parts, target, record, request, overwrite };
  const waiting = files.values();
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (const file of waiting) {
        if (signal.aborted) return;
        const result = await fetchFile(run, file);
        if (result.type !== 'failed' || !signal.aborted) tally.ended(result);
      }
    }),
  );
}

/** The rate of all, shared out: files that run together never exceed it together. */
function requestOfEach(whole: DownloadRequest, lanes: number): FolderRun['request'] {
  const { url: _url, timeoutMs: _timeoutMs, limitRate, ...rest } = whole;
  if (limitRate === undefined) return rest;
  return { ...rest, limitRate: Math.max(1, Math.floor(limitRate / lanes)) };
}

async function fetchFile(run: FolderRun, file: FolderFile): Promise<FileResult> {
  try {
    return await fetchWanted(run, file);
  } catch (error) {
    return { type: 'failed', file: file.path, error: CodedError.from(error) };
  }
}

async function fetchWanted(run: FolderRun, file: FolderFile): Promise<FileResult> {
  const { plan, target, record, kind, tools, signal, overwrite } = run;
  const place = await target.place(file.path);
  const source = sourceOf(plan.request.url, file);
  const kept = record.intact(file.path, source, place.found);
  const listed = listedVersion(file.validators, file.length);
  if (kept !== undefined && listed !== undefined && kept.listed === listed) {
    return unchanged(file.path, place.found);
  }
  if (place.found !== undefined && kept === undefined && !overwrite) {
    throw exists(place.path, 'exists already, and was not put there by this command');
  }
  const base = { ...run.request, url: file.location };
  const located = await requestFor(await kind.locateFile(file, { signal }), base, tools.clock);
  let isKept = false;
  const done = await fetchAndDeliver(
    {
      url: file.location,
      sockets: plan.sockets,
      target: { kind: 'file', path: place.path, overwrite },
      tools: { ...tools, reporter: reporterOf(file.path, run) },
      signal,
      engine: run.engine,
      state: { length: -1, hasBegunOutput: false },
      isWanted: async ({ version }) => {
        isKept = kept?.version === version;
        if (isKept || kept === undefined || overwrite) return !isKept;
        throw exists(place.path, 'is of an earlier version; --overwrite replaces it');
      },
    },
    located,
  );
  const { version, length } = done;
  const found = await statsOf(place.path);
  if (found !== undefined) {
    const entry: KeptFile = { path: file.path, source, version, state: stateOf(found) };
    await record.add(listed === undefined ? entry : { ...entry, listed });
  }
  if (isKept) return unchanged(file.path, found);
  const { fromPeers, fromSeed, fromOrigin, fromCache } = done;
  const sources = { fromPeers, fromSeed, fromOrigin, fromCache };
  return { type: 'done', file: file.path, length, version, ...sources };
}

/** Where a file comes from, however the folder above it was written. */
function sourceOf(folder: string, { location }: FolderFile): string {
  const { protocol, host } = new URL(folder);
  return `${protocol}//${host} ${location}`;
}

function reporterOf(
  file: string,
  { tools, tally }: FolderRun,
): Parameters<typeof fetchAndDeliver>[0]['tools']['reporter'] {
  return {
    note: (text) => tools.reporter.note(text),
    passing: (event) => tally.passing(file, event),
    done: () => undefined,
    failed: () => undefined,
  };
}

function unchanged(file: string, found: { readonly size: bigint } | undefined): FileResult {
  return { type: 'unchanged', file, length: Number(found?.size ?? 0n) };
}

function exists(output: string, what: string): CodedError {
  return new CodedError('ERR_OUTPUT_EXISTS', `${output} ${what}`, { detail: { output } });
}
