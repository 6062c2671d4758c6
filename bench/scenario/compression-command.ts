import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { parseSize } from '../../core/base/units.ts';
import { count } from '../lab/flags.ts';
import { requireLab } from '../lab/lab-tools.ts';
import { renderCompression, summarizeCompression } from '../report/compression-report.ts';
import { contentKinds } from './compression-content.ts';
import type { ContentKind } from './compression-content.ts';
import { runCompression } from './compression.ts';
import { renderLibraries, runLibraries } from './compression-libraries.ts';

const usage = `Content of several kinds from the seed to one host in a lab, with compression and, in turn, without.

  npm run bench -- compression [--rates 50,200,0] [--contents LIST] [--size 32MiB] [--rounds N] [--json FILE]
  npm run bench -- compression --libraries

  --rates LIST     of the host's link, Mbit/s, 0 for no limit
  --contents LIST  of ${contentKinds.join(', ')}; default all
  --size S         of each content
  --rounds N       how often each; default 1
  --json FILE      also write every run there
  --libraries      no lab: zstd-napi and Node's own zstd beside each other, on units of these contents`;

const onStep = (text: string): void => console.error(`… ${text}`);

/** `npm run bench -- compression`. */
export async function compressionCommand(
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rates: { type: 'string', default: '50,200,0' },
      contents: { type: 'string', default: contentKinds.join(',') },
      size: { type: 'string', default: '32MiB' },
      rounds: { type: 'string', default: '1' },
      json: { type: 'string' },
      libraries: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const size = parseSize(values.size);
  if (size === undefined || size < 2 ** 20) {
    throw new CodedError('ERR_USAGE', `--size: from 1MiB, got ${values.size}`);
  }
  const kinds = values.contents.split(',').map(kindOf);
  if (values.libraries) {
    console.log(renderLibraries(await runLibraries({ kinds, size, signal, onStep })));
    return;
  }
  requireLab();
  const rates = values.rates.split(',').map(rateOf);
  const rounds = count('--rounds', values.rounds);
  const result = await runCompression({ kinds, rates, size, rounds, signal, onStep });
  console.log(renderCompression(result));
  if (values.json === undefined) return;
  const kept = {
    ...result,
    goodput: Object.fromEntries(result.goodput),
    summary: summarizeCompression(result),
  };
  await writeFile(values.json, `${JSON.stringify(kept, undefined, 2)}\n`);
}

function kindOf(text: string): ContentKind {
  const known = contentKinds.find((kind) => kind === text.trim());
  if (known !== undefined) return known;
  throw new CodedError('ERR_USAGE', `--contents: of ${contentKinds.join(', ')}, got ${text}`);
}

function rateOf(text: string): number {
  const rate = Number(text);
  if (rate >= 0 && rate <= 100_000) return rate * 1e6;
  throw new CodedError('ERR_USAGE', `--rates: Mbit/s such as 50,200,0, got ${text}`);
}
