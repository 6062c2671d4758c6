import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { parseSize } from '../../core/base/units.ts';
import { bitRate, count } from '../lab/flags.ts';
import { barsOf, renderSingle, summarize } from '../report/single-report.ts';
import { runSingle } from './single.ts';
import type { SingleOptions } from './single.ts';

const usage = `One file to one host, beside curl and aria2c: cold, warm, and to a second host.

  npm run bench -- single [--sizes 1,1MiB,100MiB,1GiB] [--rounds N] [--rate R] [--source] [--dir DIR] [--json FILE]

  --sizes LIST  sizes, parted by commas
  --rounds N    how often each; default 11 below 10 MiB, 5 above
  --rate R      in a lab where origin, supernode and hosts have this rate each way; default: on loopback
  --source      run the TypeScript; default: built, packed and unpacked as users get it
  --dir DIR     folder on the filesystem to measure; default the system's for temporary files
  --json FILE   also write every figure there`;

const DEFAULT_SIZES = '1,1MiB,100MiB,1GiB';
const MIB = 1024 * 1024;

/** `npm run bench -- single …`: runs it, and prints and keeps what it found. */
export async function singleCommand(args: string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      sizes: { type: 'string', default: DEFAULT_SIZES },
      rounds: { type: 'string' },
      rate: { type: 'string' },
      source: { type: 'boolean', default: false },
      dir: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const result = await runSingle({
    form: values.source ? 'source' : 'package',
    sizes: sizesOf(values.sizes, values.rounds),
    rate: values.rate === undefined ? 0 : bitRate('--rate', values.rate),
    ...(values.dir === undefined ? {} : { parent: values.dir }),
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderSingle(result));
  if (values.json === undefined) return;
  const kept = { ...result, summary: summarize(result.samples), bars: barsOf(result) };
  await writeFile(values.json, `${JSON.stringify(kept, undefined, 2)}\n`);
}

function sizesOf(text: string, rounds: string | undefined): SingleOptions['sizes'] {
  const every = rounds === undefined ? undefined : count('--rounds', rounds);
  return text.split(',').map((item) => {
    const bytes = parseSize(item.trim());
    if (bytes === undefined || bytes === 0) {
      throw new CodedError('ERR_USAGE', `--sizes: sizes such as ${DEFAULT_SIZES}, got ${item}`);
    }
    const usual = bytes < 10 * MIB ? 11 : 5;
    return { bytes, rounds: every ?? usual };
  });
}
