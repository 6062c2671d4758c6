import { bindCommand, newProgram, runProgram } from '../core/base/command-line.ts';
import type { CommandPlan, Print } from '../core/base/command-line.ts';
import { dfgetOptions } from './args.ts';

const HELP = `
Sizes and rates: k, m, g, t are powers of 1024 (20M, 20MB and 20MiB are the same); rates also take decimal
bits (200mbit). Durations need a unit (500ms, 30s, 1h30m).
Older spellings: -o FILE, -m MD5, -f a&b, -n HOST[:PORT], -i ID, -e TIME, --totallimit RATE, --notbs.
Exit codes: 0 done, 1 usage or configuration, 2 refused by the origin, 3 origin failing, 4 digest mismatch,
5 no space, 6 timeout, 7 mesh unavailable, 8 output, 9 interrupted, 10 internal.
`;

/** Runs any command line of dfget; `readPlainCommand` spares most of them the loading of this. */
export async function runCommandLine(
  argv: readonly string[],
  tools: { readonly print: Print } & Omit<CommandPlan<typeof dfgetOptions>, 'table'>,
): Promise<void> {
  const { print, env, action } = tools;
  const program = newProgram({
    name: 'dfget',
    description: 'Downloads a URL through the mesh, with resume and verification.',
    print,
  });
  program.argument('[URL]', 'what to download').addHelpText('after', HELP);
  bindCommand(program, { table: dfgetOptions, env, action });
  await runProgram(program, argv);
}
