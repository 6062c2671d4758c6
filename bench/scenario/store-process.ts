/**
 * One store in a process of its own, for `npm run bench -- store`: `fill` makes tasks and waits to be killed or told to
 * close, `open` opens the folder, `rows` reads what opening has to read and does nothing with it, `churn` makes tasks
 * and evicts them. Each tells what it found as one line of JSON.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Level } from 'level';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { PieceStore } from '../../core/store/piece-store.ts';

const PIECE_LENGTH = 4 * 1024 * 1024;
/** dfdaemon sweeps once a minute; here after so many tasks. */
const TASKS_A_SWEEP = 100;
const FILES_AT_ONCE = 64;
const STAY_MS = 3_600_000;

const clock = new SystemClock();
const [, , mode = '', directory = '', ...numbers] = process.argv;
const [tasks = 0, pieces = 0, maxTasks = 0] = numbers.map(Number);

function tell(facts: object): void {
  process.stdout.write(`${JSON.stringify(facts)}\n`);
}

function hex(text: string, digits: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits);
}

async function openStore(): Promise<PieceStore> {
  const most = maxTasks === 0 ? {} : { maxTasks };
  return PieceStore.open({ directory, clock, log: silentLog, reserveBytes: 0, ...most });
}

/** A whole task with digests as in life, and without bytes: opening does not look at them. */
async function addTask(store: PieceStore, number: number): Promise<void> {
  const name = `task ${number}`;
  const task = await store.create({
    taskId: hex(name, 64),
    version: hex(`${name} version`, 16),
    pieceLength: PIECE_LENGTH,
    length: pieces * PIECE_LENGTH,
    url: `http://origin.example/releases/${number}/content.tar.gz`,
    validators: { etag: `"${hex(name, 32)}"` },
  });
  using _use = task.acquire();
  const entries = Array.from({ length: pieces }, (_none, index) => {
    return { index, digest: hex(`${name} piece ${index}`, 64) };
  });
  // As long as the envelope of a batch that the cell signed.
  await task.addManifest(JSON.stringify(entries), entries);
  await Promise.all(entries.map(async ({ index }) => task.markHad(index)));
  await task.complete();
}

async function journalBytes(): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(join(directory, 'journal'))) {
    const facts = await stat(join(directory, 'journal', name)).catch(() => undefined);
    bytes += facts?.size ?? 0;
  }
  return bytes;
}

async function fill(): Promise<void> {
  await using store = await openStore();
  for (let number = 0; number < tasks; number += 1) await addTask(store, number);
  tell({ filled: tasks, journalBytes: await journalBytes() });
  // A signal that is waited for does not keep a process alive.
  const alive = clock.after(STAY_MS, () => undefined);
  await once(process, 'SIGTERM');
  alive.cancel();
}

async function open(): Promise<void> {
  const startMs = clock.monotonic();
  const began = process.cpuUsage();
  await using store = await openStore();
  const openMs = clock.monotonic() - startMs;
  const { user, system } = process.cpuUsage(began);
  const cpuSeconds = (user + system) / 1e6;
  let found = 0;
  for (const task of store.tasks()) found += task.pieces.count;
  const facts = {
    openMs,
    cpuSeconds,
    tasks: store.tasks().length,
    pieces: found,
    repairs: store.repairCount,
  };
  tell({ ...facts, rss: process.memoryUsage.rss() });
}

async function rows(): Promise<void> {
  const startMs = clock.monotonic();
  const journal = new Level(join(directory, 'journal'));
  let bytes = 0;
  const range = { gte: 'task/', lt: 'task0' };
  for await (const [, value] of journal.iterator(range)) bytes += value.length;
  const paths: string[] = [];
  for (const prefix of await readdir(join(directory, 'tasks'))) {
    const folder = join(directory, 'tasks', prefix);
    for (const name of await readdir(folder)) paths.push(join(folder, name));
  }
  for (let from = 0; from < paths.length; from += FILES_AT_ONCE) {
    await Promise.all(paths.slice(from, from + FILES_AT_ONCE).map(async (path) => lstat(path)));
  }
  const readMs = clock.monotonic() - startMs;
  await journal.close();
  tell({ readMs, rowBytes: bytes, files: paths.length });
}

async function churn(): Promise<void> {
  await using store = await openStore();
  let largest = 0;
  for (let number = 0; number < tasks; number += 1) {
    await addTask(store, number);
    if (number % TASKS_A_SWEEP !== TASKS_A_SWEEP - 1) continue;
    largest = Math.max(largest, await journalBytes());
    await store.sweep();
  }
  tell({ largest, journalBytes: await journalBytes(), tasks: store.tasks().length });
}

const modes: Readonly<Record<string, () => Promise<void>>> = { fill, open, rows, churn };
await modes[mode]?.();
