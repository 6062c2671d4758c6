/** What `dfdaemon setup` prints. */
import type { FileReport, SetupReport, SetupState } from './set-up.ts';

const done = {
  created: 'made',
  changed: 'changed',
  removed: 'removed',
  unchanged: 'as it should be',
};
const planned = {
  created: 'would make',
  changed: 'would change',
  removed: 'would remove',
  unchanged: 'as it should be',
};

/** How it was asked for. */
export interface ReportForm {
  readonly json: boolean;
  readonly dryRun: boolean;
  readonly undo: boolean;
  readonly user: boolean;
}

/** A line per file, then what to do and what to know; with `--dry-run` what would change. */
export function renderReport(report: SetupReport, form: ReportForm): string {
  const { client, files, commands, notes } = report;
  const { dryRun: isDryRun, undo, user } = form;
  if (form.json) {
    const shown = files.map(({ path, change, diff }) =>
      isDryRun ? { path, change, diff } : { path, change },
    );
    const action = undo ? 'undo' : 'setup';
    return `${JSON.stringify({ client, action, isDryRun, files: shown, commands, notes })}\n`;
  }
  const words = isDryRun ? planned : done;
  const line = ({ path, change, diff }: FileReport): string =>
    `${client}: ${words[change]} ${path}\n${isDryRun ? diff : ''}`;
  const isChanged = files.some(({ change }) => change !== 'unchanged');
  const hints = isChanged ? commands.map((command) => `  to do: ${command}\n`) : [];
  const wayBack =
    isChanged && !undo
      ? [`  taken back by: dfdaemon setup ${client}${user ? ' --user' : ''} --undo\n`]
      : [];
  return [
    ...files.map(line),
    ...hints,
    ...notes.map((note) => `  note: ${note}\n`),
    ...wayBack,
  ].join('');
}

/** A line per file of each client. */
export function renderStates(
  states: readonly SetupState[],
  { json }: { readonly json: boolean },
): string {
  if (json) return states.map((state) => `${JSON.stringify(state)}\n`).join('');
  if (states.length === 0) return 'nothing is set up\n';
  return states
    .flatMap(({ client, address, files }) =>
      files.map(({ path, state }) => `${client}: ${path} (${address}): ${state}\n`),
    )
    .join('');
}
