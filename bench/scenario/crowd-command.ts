import { writeFile } from 'node:fs/promises';
import { crowdBars, renderCrowd } from '../report/crowd-report.ts';
import { crowdUsage, readCrowdCommand } from './crowd-case.ts';
import { runCrowd } from './crowd.ts';

/** `npm run bench -- crowd`. */
export async function crowdCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const command = readCrowdCommand(args);
  if (command === undefined) {
    console.log(crowdUsage);
    return;
  }
  const result = await runCrowd(command.crowd, {
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderCrowd(result));
  if (command.json === undefined) return;
  await writeFile(command.json, `${JSON.stringify({ ...result, bars: crowdBars(result) })}\n`);
}
