import { LRUCache } from 'lru-cache';
import { RE2JS } from 're2js';

export { MAX_PATTERN_LENGTH } from './pattern-length.ts';

const compiled = new LRUCache<string, RE2JS>({ max: 2_000 });

/** A pattern of RE2, which takes linear time whatever it is; throws an Error that says what is wrong with it. */
export function linearPattern(pattern: string): RE2JS {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  const fresh = RE2JS.compile(pattern);
  compiled.set(pattern, fresh);
  return fresh;
}

/** What is wrong with a pattern, as the end of a sentence; undefined for one of RE2. */
export function patternProblem(pattern: string): string | undefined {
  try {
    linearPattern(pattern);
    return undefined;
  } catch (error) {
    return `is no RE2 pattern: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** True when any of the patterns is found in `line`. */
export function isAnyFound(patterns: readonly string[], line: string): boolean {
  return patterns.some((pattern) => linearPattern(pattern).matcher(line).find());
}

/**
 * A command line as patterns see it: command and arguments with one space between, every run of white space and
 * control characters as one space. It is for looking only: what runs is the arguments as they were.
 */
export function lineOf(command: string, args: readonly string[]): string {
  return [command, ...args].join(' ').replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ');
}
