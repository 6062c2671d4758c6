import { writeFile } from 'node:fs/promises';
import { requireLab } from '../lab/lab-tools.ts';
import { plotSwarm } from '../report/swarm-plot.ts';
import { renderSwarm, summarizeSwarm, swarmBars } from '../report/swarm-report.ts';
import { requireBesides } from './swarm-beside.ts';
import { readSwarmCommand, swarmUsage } from './swarm-case.ts';
import { runSwarm } from './swarm.ts';

/** `npm run bench -- swarm`. */
export async function swarmCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const command = readSwarmCommand(args);
  if (command === undefined) {
    console.log(swarmUsage);
    return;
  }
  requireLab();
  requireBesides(command.swarm.beside);
  const result = await runSwarm(command.swarm, {
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderSwarm(result));
  if (command.svg !== undefined) await writeFile(command.svg, plotSwarm(result));
  if (command.json !== undefined) {
    const kept = { ...result, summary: summarizeSwarm(result), bars: swarmBars(result) };
    await writeFile(command.json, `${JSON.stringify(kept)}\n`);
  }
}
