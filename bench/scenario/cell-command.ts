import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { bitRate, count } from '../lab/flags.ts';
import { requireLab } from '../lab/lab-tools.ts';
import { renderCell } from '../report/cell-report.ts';
import { runCell } from './cell.ts';

const usage = `What passes all hosts of a cell against its download budget: all take, half of them stop, they begin again;
in a lab (root, ip, tc, nft).

  npm run bench -- cell [--hosts N] [--budget R] [--rate R] [--rounds N] [--json FILE]

  --hosts N     default 8
  --budget R    of the cell, default 100mbit
  --rate R      of every host, each way, and of the supernode, default 0: no limit
  --rounds N    default 1
  --json FILE   also write every figure there`;

/** `npm run bench -- cell`. */
export async function cellCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      hosts: { type: 'string', default: '8' },
      budget: { type: 'string', default: '100mbit' },
      rate: { type: 'string', default: '0' },
      rounds: { type: 'string', default: '1' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const budget = bitRate('--budget', values.budget) / 8;
  if (budget === 0) throw new CodedError('ERR_USAGE', '--budget: a rate above 0');
  const rate = bitRate('--rate', values.rate);
  requireLab();
  const runs = await runCell({
    hosts: count('--hosts', values.hosts, 2),
    budget,
    rate,
    rounds: count('--rounds', values.rounds),
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderCell(runs));
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify(runs, undefined, 2)}\n`);
  }
}
