/**
 * Reads the command lines that nearly everybody writes without commander, which takes longer to load than a warm
 * download does: known flags, each a word of its own, and at most one argument. Help, configuration files, bundled
 * flags and every mistake are left to command-line.ts, so that there is one place that explains and refuses.
 */
import type { CommandContext } from './command-line.ts';
import { CodedError } from './error.ts';
import { spellingsOf } from './flag-spellings.ts';
import type { FlagSpelling } from './flag-spellings.ts';
import type { OptionTable } from './options.ts';
import { optionValues, resolveOptions } from './resolve-options.ts';
import type { Environment, GivenFlag } from './resolve-options.ts';

/** What `runProgram` would hand the action; undefined when only that can tell. */
export function readPlainCommand<const Table extends OptionTable>(
  argv: readonly string[],
  plan: { readonly table: Table; readonly env: Environment },
): CommandContext<Table> | undefined {
  const words = readWords(argv, plan.table);
  if (words === undefined) return undefined;
  try {
    const resolved = resolveOptions(plan.table, { flags: words.flags, env: plan.env });
    const needsMore = resolved.options.some(
      ({ name, value }) =>
        (name === 'config' && value !== undefined) || (name === 'print-config' && value === true),
    );
    if (needsMore) return undefined;
    const options = optionValues(plan.table, resolved);
    return { options, args: words.args, warnings: resolved.warnings };
  } catch (error) {
    // A configuration file may be what is wrong, or what would have made it right.
    if (error instanceof CodedError) return undefined;
    throw error;
  }
}

function readWords(
  argv: readonly string[],
  table: OptionTable,
): { readonly flags: readonly GivenFlag[]; readonly args: readonly string[] } | undefined {
  if (argv.some(needsCommander)) return undefined;
  const known = knownFlags(table);
  const flags: GivenFlag[] = [];
  const args: string[] = [];
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (!word.startsWith('-')) {
      args.push(word);
      continue;
    }
    const equals = word.startsWith('--') ? word.indexOf('=') : -1;
    const flag = known.get(equals < 0 ? word : word.slice(0, equals));
    if (flag === undefined || (equals >= 0 && flag.means !== undefined)) return undefined;
    const text = equals < 0 ? undefined : word.slice(equals + 1);
    const value = flag.means ?? text ?? rest.shift();
    if (value === undefined) return undefined;
    flags.push({ name: flag.option, spelled: flag.long ?? flag.short ?? '', value });
  }
  return args.length > 1 ? undefined : { flags, args };
}

/** What command-line.ts rewrites before it reads, wherever it stands. */
function needsCommander(word: string): boolean {
  return word === '--' || /^-[A-Za-z]=/.test(word) || /^--[a-z-]+=(?:true|false)$/.test(word);
}

function knownFlags(table: OptionTable): ReadonlyMap<string, FlagSpelling> {
  const known = new Map<string, FlagSpelling>();
  for (const [name, spec] of Object.entries(table)) {
    for (const spelling of spellingsOf(name, spec)) {
      for (const word of [spelling.short, spelling.long]) {
        if (word !== undefined) known.set(word, spelling);
      }
    }
  }
  return known;
}
