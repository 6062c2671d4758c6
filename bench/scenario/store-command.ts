import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { count } from '../lab/flags.ts';
import { renderStore } from '../report/store-report.ts';
import { runStore } from './store.ts';
import type { StoreOptions } from './store.ts';

const usage = `How long a store takes to open after it was closed, after kill -9, and after its files went, beside reading as many
rows and looking at as many files; and what its journal comes to when tasks come and go.

  npm run bench -- store [--shapes LIST] [--churn N] [--rounds N] [--dir DIR] [--json FILE]

  --shapes LIST  tasks × pieces of each, default 100x1000,5000x20
  --churn N      tasks made and evicted, default 5000; 0 leaves that out
  --rounds N     how often each folder is made and opened, default 3
  --dir DIR      folder on the filesystem to measure; default the system's for temporary files
  --json FILE    also write every figure there`;

/** `npm run bench -- store`. */
export async function storeCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      shapes: { type: 'string', default: '100x1000,5000x20' },
      churn: { type: 'string', default: '5000' },
      rounds: { type: 'string', default: '3' },
      dir: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const result = await runStore({
    shapes: values.shapes.split(',').map(shapeOf),
    churn: count('--churn', values.churn, 0),
    rounds: count('--rounds', values.rounds),
    ...(values.dir === undefined ? {} : { parent: values.dir }),
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderStore(result));
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify(result, undefined, 2)}\n`);
  }
}

function shapeOf(text: string): StoreOptions['shapes'][number] {
  const [, tasks, pieces] = /^\s*(\d{1,4})x(\d{1,6})\s*$/.exec(text) ?? [];
  if (tasks === undefined || pieces === undefined) {
    throw new CodedError('ERR_USAGE', `--shapes: as in 100x1000, got ${text}`);
  }
  return { tasks: Number(tasks), pieces: Number(pieces) };
}
