import { chmod, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { endOfCall } from '../../bench/scenario/end-of-call.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { ApiClient } from '../../ops/cli/api-client.ts';
import { withCluster } from '../support/with-cluster.ts';

const KEY = 'a-key-of-the-test-and-of-nobody-else';
const HOSTS = 3;
/** `TEST_CALLS=1000` for a longer run, with as many more deaths. */
const CALLS = Number(process.env['TEST_CALLS'] ?? 240);
/** Callers at the same time. */
const LANES = 8;
const DEATHS = Math.ceil(CALLS / 60);
const SEED = 20261122;

test.serial(
  'calls end on every host while supernode and hosts are killed at random, and none runs twice',
  async (t) => {
    t.timeout(CALLS * 1_500);
    await using files = await Workplace.open();
    // A folder for each host: a line a run, in a file named after the call.
    await chmod(files.folder, 0o755);
    const keys = join(files.folder, 'keys');
    await writeFile(keys, `${KEY}\n`, { mode: 0o600 });
    const mapOf = async (number: number): Promise<string> => {
      const folder = await files.subfolder(`runs-${number}`);
      await chmod(folder, 0o777);
      const program = join(files.folder, `count-${number}`);
      await writeFile(program, `#!/bin/sh\necho ran >> ${folder}/"$1"\nsleep 0.3\n`, {
        mode: 0o755,
      });
      const map = join(files.folder, `commands-${number}.yaml`);
      await writeFile(map, `commands:\n  count: { program: ${program}, rest: true }\n`, {
        mode: 0o600,
      });
      return map;
    };
    const maps = await Promise.all([1, 2, 3].map(mapOf));
    const options = {
      hosts: HOSTS,
      supernodeArgs: ['--api-key-file', keys],
      daemonArgs: (number: number) => ['--call-commands', maps[number - 1] ?? ''],
    };
    await withCluster(t, options, async (cluster) => {
      const client = new ApiClient(cluster.apiUrl, KEY);
      const random = new SeededRandom(SEED);
      const peers = await Promise.all(
        cluster.hosts.map(async (host) => (await host.status()).peer),
      );
      const programs = [cluster.supernode, ...cluster.hosts.map(({ daemon }) => daemon)];
      const ids = new Map<string, string>();
      let isOver = false;
      const kill = async (): Promise<void> => {
        for (let death = 0; death < DEATHS; death += 1) {
          await delay(300 + random.below(700));
          const program = programs[death % 2 === 0 ? 0 : 1 + random.below(HOSTS)];
          await program?.kill('SIGKILL');
          await program?.start();
        }
        isOver = true;
      };
      let next = 0;
      const call = async (): Promise<void> => {
        while (next < CALLS || !isOver) {
          const number = next;
          next += 1;
          const peer = peers[number % peers.length] ?? '';
          const word = `n-${number}`;
          const body = { command: 'count', args: [word], on: `host=${peer}`, waitMs: 120_000 };
          // While the supernode is away, or does not know the host yet, the same word is asked for again.
          for (;;) {
            const asked = { ...body, idempotencyKey: word };
            const begun = await client.ask('call.run', asked).catch(() => undefined);
            if (begun !== undefined) {
              ids.set(word, begun.id);
              break;
            }
            await delay(50);
          }
        }
      };
      await Promise.all([kill(), ...Array.from({ length: LANES }, call)]);
      const outcomes = new Map<string, string>();
      for (const [word, id] of ids) {
        outcomes.set(word, outcomeOf(await endOfCall(client, id)));
      }
      const runs = await runsIn([1, 2, 3].map((number) => join(files.folder, `runs-${number}`)));
      for (const [word, outcome] of outcomes) {
        const ran = runs.get(word) ?? 0;
        t.true(ran <= 1, `${word} ran ${ran} times`);
        if (outcome === 'ok') t.is(ran, 1, word);
        else t.is(outcome, 'unknown', `${word}: ended ${outcome}`);
      }
      const count = (wanted: string): number =>
        [...outcomes.values()].filter((outcome) => outcome === wanted).length;
      t.log(
        `${outcomes.size} calls, ${DEATHS} deaths: ${count('ok')} ok, ${count('unknown')} unknown`,
      );
      t.true(count('ok') >= outcomes.size - DEATHS * 20, 'few are in the hands of one who dies');
    });
  },
);

function outcomeOf(counts: Readonly<Record<string, number>>): string {
  const [outcome = 'none'] = ['ok', 'failed', 'refused', 'unknown'].filter(
    (name) => counts[name] === 1,
  );
  return outcome;
}

/** How often each call ran, by its argument. */
async function runsIn(folders: readonly string[]): Promise<Map<string, number>> {
  const runs = new Map<string, number>();
  for (const folder of folders) {
    for (const word of await readdir(folder)) {
      const lines = (await readFile(join(folder, word), 'utf8')).trimEnd().split('\n').length;
      runs.set(word, (runs.get(word) ?? 0) + lines);
    }
  }
  return runs;
}
