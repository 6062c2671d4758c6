/** Finds settings in the files of npm and pip: `key = value` lines, below `[section]` lines. */

/** One setting. */
export interface IniSetting {
  /** Lower case, `_` as `-`. */
  readonly key: string;
  readonly value: string;
}

/** A `[section]` line: where the next line starts. */
export interface IniSection {
  readonly name: string;
  readonly end: number;
}

/** All settings of a file, whatever section they are in; comments are none. */
export function iniSettings(text: string): readonly IniSetting[] {
  return [...text.matchAll(/^[ \t]*([\w.@:/-]+?)(?:\[\])?[ \t]*[=:][ \t]*(.*?)[ \t\r]*$/gm)].map(
    ([, key = '', value = '']) => ({ key: key.toLowerCase().replaceAll('_', '-'), value }),
  );
}

/** The sections of a file, from top to bottom. */
export function iniSections(text: string): readonly IniSection[] {
  return [...text.matchAll(/^\[([^\]\n]+)\][^\n]*(?:\n|$)/gm)].map((line) => ({
    name: line[1] ?? '',
    end: line.index + line[0].length,
  }));
}
