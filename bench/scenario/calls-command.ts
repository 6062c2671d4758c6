import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { count } from '../lab/flags.ts';
import { renderCalls } from '../report/calls-report.ts';
import { runCalls } from './calls.ts';

const usage = `Commands on many hosts: how soon they end, and how many a second one supernode passes on.

  npm run bench -- calls [--hosts 20] [--light 2000] [--json FILE]

  --hosts N      real dfdaemons, which run a program
  --light N      light hosts, which verify each order and answer at once
  --rounds N     calls to one real host, one after the other
  --seconds S    how long light hosts are called as fast as it goes
  --at-once N    calls that have not ended, at a time
  --queued N     slow calls in line when calls to one real host are timed again
  --dir DIR      for data folders; default that of the system
  --json FILE    every figure`;

const options = {
  hosts: { type: 'string', default: '20' },
  light: { type: 'string', default: '2000' },
  rounds: { type: 'string', default: '200' },
  seconds: { type: 'string', default: '60' },
  'at-once': { type: 'string', default: '64' },
  queued: { type: 'string', default: '10000' },
  dir: { type: 'string', default: '' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/** `npm run bench -- calls`. */
export async function callsCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({ args: [...args], options });
  if (values.help) {
    console.log(usage);
    return;
  }
  const calls = {
    hosts: count('--hosts', values.hosts),
    light: count('--light', values.light),
    rounds: count('--rounds', values.rounds, 10),
    seconds: count('--seconds', values.seconds),
    atOnce: count('--at-once', values['at-once']),
    queued: count('--queued', values.queued),
    ...(values.dir === '' ? {} : { parent: values.dir }),
  };
  const result = await runCalls(calls, {
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderCalls(result));
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(result)}\n`);
}
