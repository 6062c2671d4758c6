import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import { ApiClient } from './api-client.ts';
import { changeOptions } from './preheat-options.ts';
import { previewRepair, showRelease, startRepair } from './release-api.ts';
import type { LateHost, Repair } from './release-api.ts';
import { repairText } from './release-text.ts';
import { confirmed } from './release-tools.ts';
import type { ReleaseTools } from './release-tools.ts';

const POLL_MS = 1_000;

/** The flags of `dfops release repair`. */
export const releaseRepairOptions = defineOptions({
  ...changeOptions,
  on: {
    kind: 'string',
    valueName: 'HOSTS',
    defaultHelp: 'all that have not come to what it decided',
    help: 'Hosts to repair, named as for dfops call --on; of a release that is done also those that came later',
  },
  preview: { kind: 'boolean', help: 'Show what it would do, and do nothing' },
  yes: { kind: 'boolean', help: 'Start it without asking' },
  wait: { kind: 'boolean', help: 'Until the hosts have come to it, or are left as they are' },
});

/** Adds `release repair`. */
export function addRepair(release: Command, tools: ReleaseTools): void {
  const { env, print, signal } = tools;
  const repair = release
    .command('repair')
    .description('Bring hosts of a release that has ended to what it decided for them')
    .argument('<ID>');
  bindCommand(repair, {
    table: releaseRepairOptions,
    env,
    action: async ({ options, args: [id = ''] }) => {
      const { json, on } = options;
      const api = new ApiClient(options.api, options.apiKey, options);
      const wish = on === undefined ? { id } : { id, on };
      const shown = await previewRepair(api, wish, signal);
      const text = json ? `${JSON.stringify(shown)}\n` : repairText(shown);
      if (options.preview) {
        print(text);
        return;
      }
      if (!json || !options.yes) tools.complain(repairText(shown));
      if (!options.yes) await confirmed(tools);
      const begun = await startRepair(api, { ...wish, plan: shown.digest }, signal);
      print(json ? `${JSON.stringify(begun)}\n` : `${begun.hosts.length} hosts\n`);
      if (options.wait) await ended(api, begun, tools);
    },
  });
}

/** Throws when one of them is left as it is. */
async function ended(
  api: ApiClient,
  { release: id, hosts }: Repair,
  { clock, signal }: ReleaseTools,
): Promise<void> {
  const asked = new Set(hosts.map(({ peer }) => peer));
  for (;;) {
    const { batches, late = [] } = await showRelease(api, id, signal);
    const all: LateHost[] = [...batches.flat(), ...late];
    const stages = all.flatMap(({ peer, owed }) => (asked.has(peer) ? (owed?.stage ?? []) : []));
    if (stages.every((stage) => stage === 'mended' || stage === 'left')) {
      const left = stages.filter((stage) => stage === 'left').length;
      if (left === 0) return;
      const message = `${left} hosts have not come to it: dfops release show ${id} says why`;
      throw new CodedError('ERR_RELEASE_NOT_DONE', message, { detail: { release: id } });
    }
    await clock.sleep(POLL_MS, { signal });
  }
}
