import type { Clock } from '../../core/base/clock.ts';
import type { DfgetOptions } from '../args.ts';
import type { Screen } from '../human-reporter.ts';
import type { FolderReporter } from './folder-reporter.ts';
import { HumanFolderReporter } from './human-folder-reporter.ts';
import { JsonFolderReporter } from './json-folder-reporter.ts';

export { runFolder } from './run-folder.ts';

/** Tells of a folder in the form that was asked for. */
export function openFolderReporter(
  options: DfgetOptions,
  { screen, clock }: { readonly screen: Screen; readonly clock: Clock },
): FolderReporter {
  return options.json ? new JsonFolderReporter(screen.out) : new HumanFolderReporter(screen, clock);
}
