import { mkdir, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { parseSize } from '../../core/base/units.ts';
import { linkBars, renderLink, summarizeLink } from '../report/link-report.ts';
import { requireNginx } from './link-nginx.ts';
import { runLink } from './link.ts';

const usage = `One parent process to one child process over loopback: the piece link by itself, every piece verified, to
/dev/null and to a file, over TLS and in the clear. Beside it, in turn, curl from nginx.

  npm run bench -- link [--size 4GiB] [--rounds 5] [--dir DIR] [--json FILE] [--alone] [--profile DIR]

  --size S       how much; it is written once, and read from the file cache
  --rounds N     how often each
  --dir DIR      folder on the filesystem to measure; needs twice the size; default the system's for temporary files
  --json FILE    also write every figure there
  --alone        without nginx and curl
  --profile DIR  leave CPU profiles of both sides there`;

/** `npm run bench -- link`. */
export async function linkCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: 'string', default: '4GiB' },
      rounds: { type: 'string', default: '5' },
      dir: { type: 'string' },
      json: { type: 'string' },
      alone: { type: 'boolean', default: false },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const size = parseSize(values.size);
  if (size === undefined || size === 0) {
    throw new CodedError('ERR_USAGE', `--size: a size such as 4GiB, got ${values.size}`);
  }
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new CodedError('ERR_USAGE', `--rounds: a number above 0, got ${values.rounds}`);
  }
  if (!values.alone) requireNginx();
  const profile = values.profile === undefined ? undefined : resolve(values.profile);
  if (profile !== undefined) await mkdir(profile, { recursive: true });
  const result = await runLink({
    size,
    rounds,
    isAlone: values.alone,
    parent: values.dir,
    profile,
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderLink(result));
  if (values.json === undefined) return;
  const kept = { ...result, summary: summarizeLink(result), bars: linkBars(result) };
  await writeFile(values.json, `${JSON.stringify(kept, undefined, 2)}\n`);
}
