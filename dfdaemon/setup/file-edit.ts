/**
 * Edits of a configuration file that can be taken out again, also after others changed the rest of the file.
 * An edit is data: it goes into the record of what was set up.
 */
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { withoutJsonItem } from './json-list.ts';

/** Whole lines put in place of others, most often of none. */
const LinesEdit = Type.Object({
  kind: Type.Literal('lines'),
  inserted: Type.String(),
  replaced: Type.String(),
  /** Where this text is nowhere in the file, our lines are gone from it. */
  mark: Type.String(),
});

/** One string put into a list of a JSON object. */
const JsonItemEdit = Type.Object({
  kind: Type.Literal('json-item'),
  key: Type.String(),
  item: Type.String(),
  /** The list was not there before. */
  isOurList: Type.Boolean(),
});

/** One edit, as recorded. */
export const FileEdit = Type.Union([LinesEdit, JsonItemEdit]);
export type FileEdit = Static<typeof FileEdit>;
type LinesEdit = Static<typeof LinesEdit>;

/** A text and what was done to it. */
export interface Edited {
  readonly text: string;
  readonly edits: readonly FileEdit[];
}

/** A text that says already what it should. */
export function unedited(text: string): Edited {
  return { text, edits: [] };
}

/** A file that is ours from the first line to the last. */
export function newFile(text: string, mark: string): Edited {
  return { text, edits: [{ kind: 'lines', inserted: text, replaced: '', mark }] };
}

/** Puts `block` (whole lines) in place of `[start, end)`, which are whole lines too, or nothing. */
export function replaceLines(
  text: string,
  place: { readonly start: number; readonly end: number },
  { block, mark }: { readonly block: string; readonly mark: string },
): Edited {
  const { start, end } = place;
  // A last line without its end would run into ours.
  const gap = start > 0 && text[start - 1] !== '\n' ? '\n' : '';
  const replaced = text.slice(start, end);
  return {
    text: `${text.slice(0, start)}${gap}${block}${text.slice(end)}`,
    edits: [{ kind: 'lines', inserted: block, replaced, mark }],
  };
}

/** Puts `block` after everything else, parted from it by an empty line. */
export function appendLines(
  text: string,
  { block, mark }: { readonly block: string; readonly mark: string },
): Edited {
  const isParted = text === '' || text.endsWith('\n\n');
  const place = { start: text.length, end: text.length };
  return replaceLines(text, place, { block: isParted ? block : `\n${block}`, mark });
}

/** One edit after another. */
export function followedBy(first: Edited, next: (text: string) => Edited): Edited {
  const second = next(first.text);
  return { text: second.text, edits: [...first.edits, ...second.edits] };
}

/** The text without our edits; undefined when something of them is there, but not as we made it. */
export function withoutEdits(text: string, edits: readonly FileEdit[]): string | undefined {
  return edits.reduceRight<string | undefined>(
    (rest, edit) => (rest === undefined ? undefined : withoutEdit(rest, edit)),
    text,
  );
}

/** True when nothing is left that anybody would miss. */
export function isEmptyConfig(text: string): boolean {
  return /^\s*(?:\{\s*\}\s*)?$/.test(text);
}

function withoutEdit(text: string, edit: FileEdit): string | undefined {
  if (edit.kind === 'json-item') return withoutJsonItem(text, edit);
  return withoutLines(text, edit);
}

function withoutLines(text: string, edit: LinesEdit): string | undefined {
  const whole = text === '' || text.endsWith('\n') ? text : `${text}\n`;
  const places = lineStarts(whole).filter((at) => whole.startsWith(edit.inserted, at));
  const [at, ...others] = places;
  if (at === undefined) return text.includes(edit.mark) ? undefined : text;
  if (others.length > 0) return undefined;
  return `${whole.slice(0, at)}${edit.replaced}${whole.slice(at + edit.inserted.length)}`;
}

function lineStarts(text: string): readonly number[] {
  return [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
}
