import { isOnByDefault } from './options.ts';
import type { OptionSpec } from './options.ts';

/** One way to write one option as a flag. */
export interface FlagSpelling {
  /** The option's name in its table. */
  readonly option: string;
  /** `-O`. */
  readonly short?: string;
  /** `--output`. */
  readonly long?: string;
  /** What the flag says, where it takes no value. */
  readonly means?: boolean;
  /** False: left out of help. */
  readonly isShown: boolean;
}

/** All flags of an option, the shown one first where there is one. */
export function spellingsOf(option: string, spec: OptionSpec): FlagSpelling[] {
  const aliases = spec.aliases ?? [];
  if (spec.kind === 'boolean') {
    return [
      ...ownSwitches(option, spec),
      ...aliases.flatMap((alias) => switches(option, spec, alias)),
    ];
  }
  const own = { option, ...shortOf(spec), long: `--${option}`, isShown: spec.hidden !== true };
  return [own, ...aliases.map((alias) => ({ option, ...spelled(alias), isShown: false }))];
}

function ownSwitches(option: string, spec: OptionSpec): FlagSpelling[] {
  const isOn = isOnByDefault(spec);
  const isShown = spec.hidden !== true;
  // The short flag goes with whichever of the two changes something.
  const yes = { option, long: `--${option}`, means: true };
  const no = { option, long: `--no-${option}`, means: false };
  const [useful, idle] = isOn ? [no, yes] : [yes, no];
  return [
    { ...useful, ...shortOf(spec), isShown },
    { ...idle, isShown: false },
  ];
}

function switches(option: string, spec: OptionSpec, alias: string): FlagSpelling[] {
  const isOn = isOnByDefault(spec);
  const own = { option, ...spelled(alias), means: !isOn, isShown: false };
  return alias.length === 1
    ? [own]
    : [own, { option, long: `--no-${alias}`, means: isOn, isShown: false }];
}

function shortOf(spec: OptionSpec): Pick<FlagSpelling, 'short'> {
  return spec.short === undefined ? {} : { short: `-${spec.short}` };
}

function spelled(alias: string): Pick<FlagSpelling, 'short' | 'long'> {
  return alias.length === 1 ? { short: `-${alias}` } : { long: `--${alias}` };
}
