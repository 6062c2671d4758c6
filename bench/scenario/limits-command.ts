import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { parseRate } from '../../core/base/units.ts';
import { count } from '../lab/flags.ts';
import { machineCpuSeconds } from '../measure/process-usage.ts';
import { renderLimits } from '../report/limits-report.ts';
import { limiters } from './limits-load.ts';
import type { Limiter } from './limits-load.ts';
import { runLimits } from './limits.ts';

const usage = `What passes each limiter against what it was set to, with real processes on loopback: windows of 2 s after 2 s
(the cell: 6 s) of settling, and one 2 s after half of it was set.
Of several tasks the set rate is that of all together. Combined: of tasks, host and cell, all set to the same.

  npm run bench -- limits [--limiters LIST] [--rates LIST] [--tasks LIST] [--steady] [--dir DIR] [--json FILE]

  --limiters LIST  of ${limiters.join(', ')}; default all
  --rates LIST     bytes per second, default 100000,1000000,10000000,100000000
  --tasks LIST     downloads at a time, default 1,4,16
  --steady         leave out what passes after half of it was set
  --dir DIR        for stores; default the system's for temporary files
  --json FILE      also write every window there`;

/** `npm run bench -- limits`. */
export async function limitsCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      limiters: { type: 'string', default: limiters.join(',') },
      rates: { type: 'string', default: '100000,1000000,10000000,100000000' },
      tasks: { type: 'string', default: '1,4,16' },
      steady: { type: 'boolean', default: false },
      dir: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const began = await machineCpuSeconds();
  const samples = await runLimits({
    limiters: values.limiters.split(',').map(limiterOf),
    rates: values.rates.split(',').map(rateOf),
    tasks: values.tasks.split(',').map((text) => count('--tasks', text.trim())),
    isLowering: !values.steady,
    ...(values.dir === undefined ? {} : { parent: values.dir }),
    signal,
    onStep: (text) => console.error(`… ${text}`),
    onSample: (sample) => console.error(renderLimits([sample])),
  });
  console.log(renderLimits(samples));
  const ended = await machineCpuSeconds();
  if (began !== undefined && ended !== undefined) {
    const busy = (ended.busy - began.busy) / (ended.all - began.all);
    console.log(`the machine was busy ${Math.round(busy * 100)} % of the time\n`);
  }
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify(samples, undefined, 2)}\n`);
  }
}

function limiterOf(text: string): Limiter {
  const known = limiters.find((name) => name === text.trim());
  if (known !== undefined) return known;
  throw new CodedError('ERR_USAGE', `--limiters: of ${limiters.join(', ')}, got ${text}`);
}

function rateOf(text: string): number {
  const rate = parseRate(text.trim());
  if (rate !== undefined && rate > 0) return rate;
  throw new CodedError('ERR_USAGE', `--rates: rates such as 1000000 or 10MB/s, got ${text}`);
}
