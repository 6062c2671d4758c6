import { RE2JS } from 're2js';
import { CodedError } from '../../core/base/error.ts';

/** True for paths that one of the patterns matches. */
export type PathFilter = (path: string) => boolean;

const MAX_GLOB = 1_000;

/**
 * A filter of `/`-parted paths. `*` and `?` stand for characters of one name, `**` for names too, `[a-z]` and `[!a-z]`
 * for one character, `\` takes what follows as it is. A pattern without a slash is about the last name, one that ends
 * in a slash about all below such a folder. Matching takes linear time, whatever a listing names its files.
 * Throws ERR_USAGE naming `flag`.
 */
export function globFilter(globs: readonly string[], flag: string): PathFilter {
  const patterns = globs.map((glob) => {
    const anchored = glob.replace(/^\//, '');
    const isName = !anchored.replace(/\/$/, '').includes('/') && !glob.startsWith('/');
    const whole = anchored.endsWith('/') ? `${anchored}**` : anchored;
    return compile(isName ? `**/${whole}` : whole, { glob, flag });
  });
  return (path) => patterns.some((pattern) => pattern.matcher(path).matches());
}

function compile(text: string, about: { readonly glob: string; readonly flag: string }): RE2JS {
  if (about.glob === '' || about.glob.length > MAX_GLOB) throw malformed(about);
  try {
    // DOTALL: a name may hold any character.
    return RE2JS.compile(expressionOf(text), RE2JS.DOTALL);
  } catch (cause) {
    throw malformed(about, cause);
  }
}

function expressionOf(glob: string): string {
  let expression = '';
  for (let at = 0; at < glob.length;) {
    const [token = ''] = /^(?:\*\*\/|\*+|\?|\[[!^]?\]?[^\]]*\]|\\?.)/su.exec(glob.slice(at)) ?? [];
    expression += expressionOfToken(token);
    at += Math.max(1, token.length);
  }
  return expression;
}

function expressionOfToken(token: string): string {
  if (token === '**/') return '(?:[^/]+/)*';
  if (token === '*') return '[^/]*';
  if (token.startsWith('*')) return '.*';
  if (token === '?') return '[^/]';
  if (token.startsWith('[') && token.length > 2) {
    const [, negation = '', members = ''] = /^\[([!^]?)(.*)\]$/s.exec(token) ?? [];
    const escaped = members.replaceAll(/[\\[\]^]/g, String.raw`\$&`);
    return negation === '' ? `[${escaped}]` : `[^/${escaped}]`;
  }
  const literal = token.startsWith('\\') && token.length > 1 ? token.slice(1) : token;
  return RE2JS.quote(literal);
}

function malformed(
  { glob, flag }: { readonly glob: string; readonly flag: string },
  cause?: unknown,
): CodedError {
  const shown = JSON.stringify(glob.slice(0, 100));
  return new CodedError('ERR_USAGE', `${flag}: not a pattern: ${shown}`, { cause });
}
