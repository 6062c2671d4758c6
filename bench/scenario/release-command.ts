import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { parseSize } from '../../core/base/units.ts';
import { count } from '../lab/flags.ts';
import { renderReleases } from '../report/release-report.ts';
import { runReleases } from './release.ts';

const usage = `Releases of a small web service to real hosts: a good one, a good one while the supernode is
killed at every step, and a bad one that comes back by itself.

  npm run bench -- release [--hosts 12] [--idcs 3] [--batches 4] [--json FILE]

  --hosts N      dfdaemons
  --idcs N       places that they are in
  --batches N    in which they get a version
  --size SIZE    random bytes in each package
  --json FILE    every figure`;

const options = {
  hosts: { type: 'string', default: '12' },
  idcs: { type: 'string', default: '3' },
  batches: { type: 'string', default: '4' },
  size: { type: 'string', default: '8MiB' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/** `npm run bench -- release`. */
export async function releaseCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({ args: [...args], options });
  if (values.help) {
    console.log(usage);
    return;
  }
  const padBytes = parseSize(values.size);
  if (padBytes === undefined) {
    throw new CodedError('ERR_USAGE', `--size: a size such as 8MiB, got ${values.size}`);
  }
  const about = {
    hosts: count('--hosts', values.hosts, 2),
    idcs: count('--idcs', values.idcs),
    batches: count('--batches', values.batches),
    padBytes,
  };
  const outcomes = await runReleases(about, {
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderReleases(outcomes));
  if (values.json === undefined) return;
  const plain = outcomes.map(({ visits, answers, ...outcome }) => ({
    ...outcome,
    visits: visits && { ...visits, versions: Object.fromEntries(visits.versions) },
    answers: Object.fromEntries(answers),
  }));
  await writeFile(values.json, `${JSON.stringify(plain)}\n`);
}
