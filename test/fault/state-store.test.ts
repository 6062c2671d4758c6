import test from 'ava';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { LevelStateStore } from '../../core/store/level-state-store.ts';

const storeModule = pathToFileURL(
  join(import.meta.dirname, '../../core/store/level-state-store.ts'),
);

/** Commits pairs of rows without end, sixteen at a time, and prints the number of each pair once it is kept. */
const writer = `
const { LevelStateStore } = await import('${storeModule.href}');
const store = await LevelStateStore.open(process.argv[1]);
let next = Number(process.argv[2]);
const write = async () => {
  for (;;) {
    const number = next++;
    const value = 'x'.repeat(number % 5000);
    await store.commit([
      { type: 'put', key: 'a/' + number, value },
      { type: 'put', key: 'b/' + number, value },
    ]);
    console.log(number);
  }
};
await Promise.all(Array.from({ length: 16 }, write));
`;

test('a state store killed again and again keeps every commit that it said was kept, whole', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-state-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  const kept = new Set<number>();
  for (let round = 0; round < 4; round += 1) {
    const argv = ['--input-type=module', '-e', writer, folder, `${round * 1_000_000}`];
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    let told = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      kept.add(Number(line));
      told += 1;
      if (told === 100 + round * 37) child.kill('SIGKILL');
    }
    await ended;
    await using store = await LevelStateStore.open(folder);
    const numbers = async (prefix: string): Promise<Set<number>> => {
      const rows = await Array.fromAsync(store.range({ gte: prefix, lt: `${prefix}~` }));
      return new Set(rows.map(({ key }) => Number(key.slice(prefix.length))));
    };
    const [a, b] = [await numbers('a/'), await numbers('b/')];
    t.deepEqual(a, b, 'a commit is there whole or not at all');
    t.true(kept.isSubsetOf(a));
  }
  t.true(kept.size >= 400);
});
