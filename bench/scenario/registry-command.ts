import { writeFile } from 'node:fs/promises';
import { CodedError } from '../../core/base/error.ts';
import { isInstalled, requireLab } from '../lab/lab-tools.ts';
import { registryBars, renderRegistry, summarizeRegistry } from '../report/registry-report.ts';
import { readRegistryCommand, registryUsage } from './registry-case.ts';
import { runRegistry } from './registry.ts';

const TOOLS = ['docker-registry', 'skopeo', 'curl'];

/** `npm run bench -- registry`. */
export async function registryCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const command = readRegistryCommand(args);
  if (command === undefined) {
    console.log(registryUsage);
    return;
  }
  requireLab();
  const missing = TOOLS.filter((tool) => !isInstalled(tool));
  if (missing.length > 0) {
    throw new CodedError('ERR_USAGE', `needs ${missing.join(', ')} (apt-get install the same)`);
  }
  const result = await runRegistry(command.registry, {
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderRegistry(result));
  if (command.json === undefined) return;
  const kept = { ...result, summary: summarizeRegistry(result), bars: registryBars(result) };
  await writeFile(command.json, `${JSON.stringify(kept, undefined, 2)}\n`);
}
