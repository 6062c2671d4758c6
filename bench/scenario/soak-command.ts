import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { count } from '../lab/flags.ts';
import { brokenPromises, renderSoak } from '../report/soak-report.ts';
import { runSoak } from './soak.ts';

const usage = `A small cell for a long time: mixed downloads, stores too small for all of it, kill -9 of the supernode and of all hosts but
the first, disks in memory that are full for a while. Ends with 1 when a promise was broken: a wrong byte, a store that
takes more than 5 s to open, a repair after kill -9, more memory, files or disk than stated, a failure with nothing broken.

  npm run bench -- soak [--minutes M] [--hosts N] [--contents N] [--workers N] [--seed N] [--source] [--json FILE]

  --minutes M   default 60
  --hosts N     default 3
  --contents N  of 1 byte to 12 MiB, default 84: about 290 MiB; a host keeps 32 MiB
  --workers N   downloads at a time, default 4
  --seed N      default 1
  --source      run the TypeScript; default: built, packed and unpacked as users get it
  --json FILE   also write every outcome there`;

/** Needs the right to mount; without it the disk is never full. */
const DISK_MIB = 64;
const QUOTA_MIB = 32;

/** `npm run bench -- soak`. */
export async function soakCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '60' },
      hosts: { type: 'string', default: '3' },
      contents: { type: 'string', default: '84' },
      workers: { type: 'string', default: '4' },
      seed: { type: 'string', default: '1' },
      source: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) {
    throw new CodedError('ERR_USAGE', `--minutes: a number above 0, got ${values.minutes}`);
  }
  const contents = count('--contents', values.contents);
  const result = await runSoak({
    form: values.source ? 'source' : 'package',
    seconds: minutes * 60,
    seed: count('--seed', values.seed),
    hosts: count('--hosts', values.hosts),
    contents,
    workers: count('--workers', values.workers),
    killEverySeconds: 10,
    fullEverySeconds: 30,
    diskMib: process.getuid?.() === 0 ? DISK_MIB : 0,
    quotaMib: QUOTA_MIB,
    finals: contents,
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderSoak(result));
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify(result, undefined, 2)}\n`);
  }
  if (brokenPromises(result).length > 0) process.exitCode = 1;
}
