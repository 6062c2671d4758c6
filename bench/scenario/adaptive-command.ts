import { writeFile } from 'node:fs/promises';
import { requireLab } from '../lab/lab-tools.ts';
import { renderAdaptive } from '../report/adaptive-report.ts';
import { readAdaptiveCommand } from './adaptive-case.ts';
import { runAdaptiveDisk } from './adaptive-disk.ts';
import { runAdaptive } from './adaptive.ts';

/** `npm run bench -- adaptive`. */
export async function adaptiveCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const command = readAdaptiveCommand(args);
  if (typeof command === 'string') {
    console.log(command);
    return;
  }
  const { about, json } = command;
  const running = { signal, onStep: (text: string) => console.error(`… ${text}`) };
  const isOfLine = about.parts.some((part) => part !== 'disk');
  if (isOfLine) requireLab();
  const runs = [
    ...(isOfLine ? await runAdaptive(about, running) : []),
    ...(about.parts.includes('disk') ? await runAdaptiveDisk(about, running) : []),
  ];
  console.log(renderAdaptive(runs));
  if (json !== undefined) await writeFile(json, `${JSON.stringify(runs, undefined, 2)}\n`);
}
