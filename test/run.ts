/**
 * Runs the tests: `node test/run.ts unit programs`. Files that fail are run once more, alone: most tests wait on real
 * time, and a machine that stands still for a while fails them. What fails again has failed; what does not is named.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { env } from 'node:process';
import { createInterface } from 'node:readline';

const configs: Readonly<Record<string, string>> = {
  unit: 'ava.config.js',
  programs: 'test/cluster.config.js',
  compat: 'test/compat.config.js',
};
/** Where ava lists the files that failed, unless it takes the machine for one of CI. */
const FAILED = 'node_modules/.cache/ava/failing-tests.json';
/** More than so many files fail for a reason. */
const MAX_AGAIN = 10;

/** What ends a run badly besides tests that fail; for these there is no second try. */
const worse = /timed out|uncaught exception|unhandled rejection|remaining|exited|no tests/i;

/** The files that failed; undefined where the run itself did. */
async function failuresOf(
  config: string,
  args: readonly string[],
): Promise<readonly string[] | undefined> {
  const ava = spawn('ava', ['--config', config, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...env,
      AVA_FORCE_CI: 'not-ci',
      NODE_COMPILE_CACHE: resolve('node_modules/.cache/node'),
    },
  });
  const ended = once(ava, 'close');
  let isWorse = false;
  for await (const line of createInterface({ input: ava.stdout })) {
    write(`${line}\n`);
    // Titles of tests that passed may have any words.
    isWorse ||= !line.includes('✔') && worse.test(line);
  }
  const [status]: unknown[] = await ended;
  if (status === 0) return [];
  const files: unknown = JSON.parse(await readFile(FAILED, 'utf8'));
  if (isWorse || !Array.isArray(files) || files.length === 0) return undefined;
  return files.map((file) => relative('.', String(file)));
}

async function passes(kind: string): Promise<boolean> {
  const config = configs[kind];
  if (config === undefined) throw new RangeError(`no tests are called "${kind}"`);
  const failed = await failuresOf(config, []);
  if (failed === undefined || failed.length > MAX_AGAIN) return false;
  if (failed.length === 0) return true;
  write(`\n  These failed and are run once more, alone: ${failed.join(', ')}\n`);
  const again = await failuresOf(config, ['--concurrency=1', '--serial', ...failed]);
  if (again?.length !== 0) return false;
  write(`\n  Passed the second time: ${failed.join(', ')}\n`);
  return true;
}

function write(text: string): void {
  process.stdout.write(text);
}

let hasPassed = true;
for (const kind of process.argv.slice(2)) hasPassed = (await passes(kind)) && hasPassed;
process.exitCode = hasPassed ? 0 : 1;
