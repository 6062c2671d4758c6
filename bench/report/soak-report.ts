import { humanBytes } from '../../core/base/units.ts';
import { median } from '../measure/median.ts';
import type { SoakResult } from '../scenario/soak.ts';
import type { SoakOutcome } from '../scenario/soak-load.ts';
import { renderTable } from './table.ts';

const MIB = 1024 * 1024;
/** What a program may hold in the end; resident memory of a daemon under load was seen up to 215 MiB. */
const MOST_RSS = 400 * MIB;
const MOST_FILES = 256;
/** Of the first host, which nobody kills, beyond what it held after the first round. */
const MOST_NEW_FILES = 48;
const MOST_NEW_RSS = 160 * MIB;
const MOST_JOURNAL = 24 * MIB;
const MOST_OPEN_MS = 5_000;
const MAX_ODD = 10;

/** Every promise that was broken, in words; none: the soak is passed. */
export function brokenPromises(result: SoakResult): string[] {
  const all = [...result.outcomes, ...result.finals];
  const wrong = all.filter(({ result: how }) => how === 'wrong');
  const broken = wrong.map(({ host, kind }) => `${host}: a wrong output (${kind})`);
  for (const { host, code = '' } of all) {
    if (code === 'ERR_INTERNAL' || code.startsWith('exit ')) broken.push(`${host}: ${code}`);
  }
  for (const { host, code } of result.finals) {
    if (code !== undefined) broken.push(`${host}: ${code} with nothing broken`);
  }
  for (const { name, openMs = 0, repairs = [] } of result.restarts) {
    if (openMs > MOST_OPEN_MS) broken.push(`${name}: its store opened in ${openMs} ms`);
    if (repairs.length > 0) broken.push(`${name}: ${repairs.join(', ')} after kill -9`);
  }
  return [...broken, ...heldTooMuch(result)];
}

function heldTooMuch({ heldBefore, heldAfter, quotaBytes }: SoakResult): string[] {
  const broken: string[] = [];
  const most = (name: string, what: string, [value, bound]: readonly [number, number]): void => {
    if (value > bound) broken.push(`${name}: ${what} ${value}, more than ${bound}`);
  };
  for (const { name, rss, files, contentBytes = 0, diskBytes = 0, journalBytes = 0 } of heldAfter) {
    most(name, 'resident bytes', [rss, MOST_RSS]);
    most(name, 'open files', [files, MOST_FILES]);
    most(name, 'bytes of content', [contentBytes, quotaBytes]);
    most(name, 'bytes of the journal', [journalBytes, MOST_JOURNAL]);
    most(name, 'bytes on disk', [diskBytes, quotaBytes + MOST_JOURNAL]);
    // The supernode and the others may be younger than the first round.
    const before = heldBefore.find((held) => held.name === name);
    if (name !== 'host-1' || before === undefined) continue;
    most(name, 'open files more', [files - before.files, MOST_NEW_FILES]);
    most(name, 'resident bytes more', [rss - before.rss, MOST_NEW_RSS]);
  }
  return broken;
}

/** All of it as text. */
export function renderSoak(result: SoakResult): string {
  const all = [...result.outcomes, ...result.finals];
  const failures = new Map<string, number>();
  /** A full disk is what the soak does; of other failures the first few are worth their words. */
  const odd = all.filter(({ code = 'ERR_NO_SPACE' }) => code !== 'ERR_NO_SPACE');
  for (const { code } of all) {
    if (code !== undefined) failures.set(code, (failures.get(code) ?? 0) + 1);
  }
  const starts = result.restarts.map(({ startMs }) => startMs);
  const opens = result.restarts.flatMap(({ openMs }) => (openMs === undefined ? [] : [openMs]));
  const broken = brokenPromises(result);
  return [
    kindTable(all),
    `failed      ${[...failures].map(([code, count]) => `${code} ${count}`).join(', ') || 'none'}`,
    ...odd.slice(0, MAX_ODD).map(({ code, message }) => `            ${code}: ${message}`),
    `killed      ${starts.length} times; served again after ${spread(starts)} ms, stores open after ${spread(opens)} ms`,
    `disk full   ${result.fullDisks} times`,
    '',
    heldTable(result),
    broken.length === 0
      ? 'every promise was kept'
      : broken.map((line) => `BROKEN: ${line}`).join('\n'),
  ].join('\n');
}

function kindTable(outcomes: readonly SoakOutcome[]): string {
  const kinds = [...new Set(outcomes.map(({ kind }) => kind))].toSorted();
  const rows = kinds.map((kind) => {
    const own = outcomes.filter((outcome) => outcome.kind === kind);
    const right = own.filter(({ result }) => result === 'right');
    return {
      download: kind,
      right: right.length,
      wrong: own.filter(({ result }) => result === 'wrong').length,
      failed: own.filter(({ result }) => result === 'failed').length,
      bytes: humanBytes(right.reduce((sum, { bytes }) => sum + bytes, 0)),
      'median s': median(own.map(({ seconds }) => seconds)).toFixed(2),
      'slowest s': Math.max(...own.map(({ seconds }) => seconds)).toFixed(2),
    };
  });
  const columns = ['download', 'right', 'wrong', 'failed', 'bytes', 'median s', 'slowest s'];
  return renderTable(columns, rows);
}

function heldTable({ heldBefore, heldAfter }: SoakResult): string {
  const rows = heldAfter.map((after) => {
    const before = heldBefore.find(({ name }) => name === after.name);
    return {
      program: after.name,
      'rss before': humanBytes(before?.rss ?? 0),
      'rss after': humanBytes(after.rss),
      'files before': before?.files,
      'files after': after.files,
      content: after.contentBytes === undefined ? undefined : humanBytes(after.contentBytes),
      'on disk': after.diskBytes === undefined ? undefined : humanBytes(after.diskBytes),
      journal: after.journalBytes === undefined ? undefined : humanBytes(after.journalBytes),
    };
  });
  const columns = ['program', 'rss before', 'rss after', 'files before', 'files after'];
  return renderTable([...columns, 'content', 'on disk', 'journal'], rows);
}

/** Median and largest. */
function spread(times: readonly number[]): string {
  if (times.length === 0) return '–';
  return `${median(times).toFixed(0)} (at most ${Math.max(...times).toFixed(0)})`;
}
