import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { bitRate, count } from '../lab/flags.ts';
import { requireLab } from '../lab/lab-tools.ts';
import { renderPriorities } from '../report/priorities-report.ts';
import { releaseSources, runPriorities } from './priorities.ts';
import type { ReleaseSource } from './priorities.ts';

const usage = `A release that begins amid warm-ups of the same host, over a narrow line, in a lab (root, ip, tc, nft).

  npm run bench -- priorities [--sources LIST] [--rate R] [--warm-ups N] [--json FILE]

  --sources LIST  of ${releaseSources.join(', ')}; default all
  --rate R        of the host's line, each way, default 50mbit
  --warm-ups N    at a time, default 8
  --json FILE     also write every figure there`;

/** `npm run bench -- priorities`. */
export async function prioritiesCommand(
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      sources: { type: 'string', default: releaseSources.join(',') },
      rate: { type: 'string', default: '50mbit' },
      'warm-ups': { type: 'string', default: '8' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const rate = bitRate('--rate', values.rate);
  if (rate === 0) throw new CodedError('ERR_USAGE', '--rate: a rate above 0');
  requireLab();
  const runs = await runPriorities({
    sources: values.sources.split(',').map(sourceOf),
    rate,
    warmUps: count('--warm-ups', values['warm-ups']),
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderPriorities(runs));
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify(runs, undefined, 2)}\n`);
  }
}

function sourceOf(text: string): ReleaseSource {
  const known = releaseSources.find((name) => name === text.trim());
  if (known !== undefined) return known;
  throw new CodedError('ERR_USAGE', `--sources: of ${releaseSources.join(', ')}, got ${text}`);
}
